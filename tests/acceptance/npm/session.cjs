// Calls both clients against the service at argv[2] as user argv[3]; prints what they made of the answers.
const sharp = require("sharp");
const webui = require("node-sd-webui").default;
const { StableDiffusionApi } = require("stable-diffusion-api");

const [url, username, password] = process.argv.slice(2);
const small = { prompt: "a red circle", steps: 3, width: 64, height: 64, seed: 7 };

async function sizes(images) {
  return Promise.all(images.map(async (image) => {
    const { width, height } = await sharp(Buffer.from(image, "base64")).metadata();
    return [width, height];
  }));
}

async function withStableDiffusionApi() {
  const api = new StableDiffusionApi({ baseUrl: url, defaultStepCount: 3 }).setAuth(username, password);
  const text = await api.txt2img({ ...small, n_iter: 2 });
  const picture = text.images[0];
  const hires = await api.txt2img({ ...small, enable_hr: true, hr_scale: 2, hr_upscaler: "Latent" });
  const init_images = [picture];
  const again = await api.img2img({ ...small, init_images, mask_image: picture, denoising_strength: 0.5 });
  const extra = await api.extraSingle({ image: picture, upscaler_1: "Lanczos", upscaling_resize: 2 });
  const size = async (image) => (({ width, height }) => [width, height])(await image.metadata());
  const before = (await api.getOptions()).send_seed;
  await api.setOptions({ send_seed: before });
  return {
    txt2img: await Promise.all(text.images.map(size)),
    seeds: JSON.parse(text.info).all_seeds,
    hires: await size(hires.images[0]),
    img2img: await size(again.images[0]),
    extra: await size(extra.image),
    progress: (await api.getProgress()).state.job_count,
    samplers: (await api.getSamplers()).length,
    upscalers: (await api.getUpscalers()).map((item) => item.name),
    models: (await api.getSdModels()).map((item) => item.model_name),
    flags: (await api.getCmdFlags()).api,
  };
}

async function withNodeSdWebui() {
  // It has no passwords of its own; its addresses may carry none either.
  const plain = globalThis.fetch;
  const basic = "Basic " + Buffer.from(`${username}:${password}`).toString("base64");
  globalThis.fetch = (target, how) =>
    plain(target, { ...how, headers: { ...how.headers, Authorization: basic } });
  const client = webui({ apiUrl: url });
  const text = await client.txt2img({ ...small, batchSize: 2, samplingMethod: "DPM++ 2M Karras" });
  const again = await client.img2img({ ...small, imageData: [text.images[0]] });
  const refused = await client
    .txt2img({ ...small, samplingMethod: "no such sampler" })
    .catch((error) => error.message);
  return { txt2img: await sizes(text.images), img2img: await sizes(again.images), refused };
}

(async () => {
  const found = {
    "stable-diffusion-api": await withStableDiffusionApi(),
    "node-sd-webui": await withNodeSdWebui(),
  };
  console.log(JSON.stringify(found));
})().catch((error) => {
  console.error(error.response ? error.response.data : error);
  process.exit(1);
});
