// Drives the published novita-sdk as its README shows. `node novita.js COMMAND`, with LOUPE_URL and LOUPE_KEY in the
// environment, prints one line of JSON: what the client handed to its caller, or the error that it threw.
"use strict";

const { NovitaSDK, TaskStatus, ModelType } = require("novita-sdk");

const POLL_MS = 500;
const POLLS_MAX = 240;

function client() {
  const sdk = new NovitaSDK(process.env.LOUPE_KEY);
  sdk.setBaseUrl(process.env.LOUPE_URL);
  return sdk;
}

async function generate(prompt, images) {
  const sdk = client();
  const { task_id } = await sdk.txt2Img({
    request: {
      model_name: "alder_realism_v4_55100.safetensors",
      prompt,
      negative_prompt: "",
      width: 256,
      height: 256,
      sampler_name: "Euler a",
      guidance_scale: 7,
      steps: 20,
      image_num: Number(images),
      seed: -1,
    },
  });
  const statuses = [];
  for (let poll = 0; poll < POLLS_MAX; poll += 1) {
    const result = await sdk.progress({ task_id });
    statuses.push(result.task.status);
    if ([TaskStatus.SUCCEED, TaskStatus.FAILED].includes(result.task.status)) {
      return { task_id, statuses: [...new Set(statuses)], result };
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`the task has not ended: ${statuses.at(-1)}`);
}

// Page by page; a server that never says "this was the last one" is caught by the number of pages.
async function models(limit) {
  const sdk = client();
  const pages = [];
  let cursor = "";
  do {
    const page = await sdk.getModels({
      filter: { visibility: "public", types: ModelType.CHECKPOINT },
      pagination: { limit: Number(limit), cursor },
    });
    pages.push(page.models);
    cursor = page.pagination.next_cursor;
  } while (cursor && pages.length < 50);
  return { pages, cursor };
}

const progress = (task_id) => client().progress({ task_id });

async function main([command, ...rest]) {
  try {
    return await { generate, models, progress }[command](...rest);
  } catch (error) {
    // Its NovitaError has no place for `message`, so that one is anything else that went wrong, this script included.
    const { code, reason, msg, metadata, message } = error;
    return { error: { code, reason, msg, metadata, message } };
  }
}

main(process.argv.slice(2)).then((told) => console.log(JSON.stringify(told)));
