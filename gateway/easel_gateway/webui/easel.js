// One synchronous call per picture; its X-Request-Id is also the task's id, so progress can be followed meanwhile.

const form = document.getElementById("form");
const generate = document.getElementById("generate");
const cancel = document.getElementById("cancel");
const bar = document.getElementById("bar");
const state = document.getElementById("state");
const pictures = document.getElementById("pictures");

const NUMBERS = ["width", "height", "steps", "cfg_scale", "seed", "batch_size"];
const SHIPPED = "easel-shapes"; // the model that comes with Easel
const SHIPPED_SIDE = 128; // the pictures that it draws best
let running = null; // request id of the task under way

function say(text, isError = false) {
  state.textContent = text;
  state.classList.toggle("error", isError);
}

function newId() {
  // crypto.randomUUID exists on https and localhost only
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function requestBody() {
  const fields = Object.fromEntries(new FormData(form));
  const body = { prompt: fields.prompt, negative_prompt: fields.negative_prompt, sampler_name: fields.sampler_name };
  for (const name of NUMBERS) body[name] = Number(fields[name]);
  if (fields.checkpoint) body.override_settings = { sd_model_checkpoint: fields.checkpoint };
  return body;
}

function follow(id) {
  const events = new EventSource(`/easel/v1/tasks/${id}/events?wait_s=30`);
  events.addEventListener("state", (event) => {
    const task = JSON.parse(event.data);
    if (task.status === "waiting") {
      say(task.position ? `In the line: ${task.position} before this one.` : "Next in the line; waiting for a worker.");
    } else {
      say(task.deliveries > 1 ? `Rendering, attempt ${task.deliveries}.` : "Rendering.");
    }
  });
  events.addEventListener("progress", (event) => {
    const snapshot = JSON.parse(event.data);
    bar.value = snapshot.ratio ?? 0;
    say(snapshot.steps ? `Rendering: step ${snapshot.step} of ${snapshot.steps}.` : `Rendering: ${snapshot.stage}.`);
  });
  events.addEventListener("end", () => events.close());
  return events;
}

async function explain(response) {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    if (Array.isArray(body.detail)) {
      return body.detail.map((item) => `${item.loc.slice(1).join(".")}: ${item.msg}`).join("\n");
    }
    return body.detail || body.errors || body.error || text;
  } catch {
    return text || response.statusText;
  }
}

function show(images) {
  pictures.replaceChildren(
    ...images.map((data) => {
      const link = document.createElement("a");
      const picture = document.createElement("img");
      picture.src = link.href = `data:image/png;base64,${data}`;
      link.download = "easel.png";
      picture.alt = "rendered picture";
      link.append(picture);
      return link;
    }),
  );
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  running = newId();
  generate.disabled = true;
  cancel.disabled = false;
  bar.hidden = false;
  bar.value = 0;
  say("Sending.");
  const events = follow(running);
  try {
    const response = await fetch("/sdapi/v1/txt2img", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Request-Id": running },
      body: JSON.stringify(requestBody()),
    });
    if (!response.ok) throw new Error(await explain(response));
    const result = await response.json();
    show(result.images);
    const info = JSON.parse(result.info || "{}");
    say(info.all_seeds ? `Done. Seeds: ${info.all_seeds.join(", ")}.` : "Done.");
  } catch (error) {
    say(error.message, true);
  } finally {
    events.close();
    running = null;
    generate.disabled = false;
    cancel.disabled = true;
    bar.hidden = true;
  }
});

cancel.addEventListener("click", async () => {
  if (!running) return;
  cancel.disabled = true;
  const response = await fetch(`/easel/v1/tasks/${running}/cancel`, { method: "POST" });
  if (!response.ok) say(await explain(response), true);
});

async function offerSamplers() {
  const response = await fetch("/sdapi/v1/samplers");
  if (!response.ok) return; // what stands in the page works without the list
  const names = (await response.json()).map((sampler) => sampler.name);
  const select = form.elements.sampler_name;
  const chosen = select.value;
  select.replaceChildren(...names.map((name) => new Option(name)));
  if (names.includes(chosen)) select.value = chosen;
}

async function offerCheckpoints() {
  const response = await fetch("/sdapi/v1/sd-models");
  if (!response.ok) return; // the names are a help in typing, nothing more
  const models = await response.json();
  document.getElementById("checkpoints").replaceChildren(
    ...models.map((model) => {
      const option = document.createElement("option");
      option.value = model.title;
      return option;
    }),
  );
  if (models.length === 1 && models[0].model_name === SHIPPED) {
    form.elements.width.value = form.elements.height.value = SHIPPED_SIDE;
  }
}

offerSamplers();
offerCheckpoints();
