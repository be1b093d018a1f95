"""The dialect of Alibaba EAS's queue service: two queues, their operations, and the watch."""
