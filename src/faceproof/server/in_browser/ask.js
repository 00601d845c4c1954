// Judges a picture on this machine: nothing is sent anywhere.

import * as ort from "./ort/ort.wasm.min.mjs";

import { decode, views } from "./pixels.js";
import { combined, verdictOf, withoutFace } from "./verdict.js";

const settings = JSON.parse(document.getElementById("page").dataset.settings);
const THUMBNAIL = 720; // pixels, the longer side
const FILES = new URL("../", import.meta.url); // where index.html lies

ort.env.wasm.numThreads = 1; // several take headers that few servers of static files send
ort.env.wasm.wasmPaths = new URL("ort/", import.meta.url).href;

let loading = null; // the detector, loaded once

// After the first visit the page works without a network, where the browser allows that: on https
// and on addresses of this machine.
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register(new URL("offline.js", FILES)).catch((error) =>
    console.warn(`the page is not stored for use without a network: ${error.message}`));
}

// Returns the answer on a picture, with the fields of the HTTP API's.
export async function ask(file, options, signal) {
  if (file.type.startsWith("video/")) throw new Error("this page judges pictures, not videos");
  if (file.size > settings.max_megabytes * 1e6) {
    throw new Error(
      `the file is too large; at most ${settings.max_megabytes} megabytes are taken`,
    );
  }
  const { picture, canvas } = await decode(file, settings.max_pixels);
  loading = loading || load();
  loading.catch(() => { loading = null; }); // so that the next picture tries again
  const detector = await loading;
  signal.throwIfAborted();
  return { kind: "image", ...await judge(detector, picture), thumbnail: thumbnail(canvas) };
}

// Loading --------------------------------------------------------------------------------------

async function load() {
  const read = async (name, options) => {
    const answer = await fetch(new URL(name, FILES), options).catch(() => null);
    if (!answer || !answer.ok) throw new Error(`${name} cannot be read; load the page again`);
    return answer;
  };
  // Not from the browser's cache, which may have that of an earlier detector.
  const detector = await (await read("detector.json", { cache: "no-cache" })).json();
  if (detector.version !== settings.version) {
    throw new Error("there is another detector here since this page was opened; load it again");
  }
  for (const part of [detector.gate, detector.detector].filter((one) => one !== null)) {
    for (const network of part.networks) {
      const data = await (await read(network.file)).arrayBuffer();
      network.session = await ort.InferenceSession.create(data, { executionProviders: ["wasm"] });
    }
  }
  return detector;
}

// Judging --------------------------------------------------------------------------------------

async function judge({ gate, detector }, picture) {
  if (gate === null) return verdictOf(detector, await scored(detector, picture));
  const face = verdictOf(gate, await scored(gate, picture));
  const isFace = face.probability >= gate.threshold;
  const found = isFace ? verdictOf(detector, await scored(detector, picture))
    : withoutFace(detector);
  return { ...found, gate_probability: face.probability };
}

async function scored(part, picture) {
  const found = [];
  for (const network of part.networks) found.push(await run(network, picture));
  return combined(part, found);
}

// Returns the means over all views of a picture, {logit, novelty}.
async function run({ session, input }, picture) {
  const totals = { logit: 0, novelty: 0 };
  const seen = views(picture, input);
  for (const view of seen) {
    const images = new ort.Tensor("float32", view, [1, 3, input.size, input.size]);
    const given = await session.run({ images });
    for (const [name, value] of Object.entries(given)) totals[name] += value.data[0];
  }
  return { logit: totals.logit / seen.length, novelty: totals.novelty / seen.length };
}

function thumbnail(canvas) {
  const { width, height } = canvas;
  const scale = Math.min(1, THUMBNAIL / Math.max(width, height));
  const small = document.createElement("canvas");
  small.width = Math.max(1, Math.round(scale * width));
  small.height = Math.max(1, Math.round(scale * height));
  small.getContext("2d").drawImage(canvas, 0, 0, small.width, small.height);
  return { url: small.toDataURL("image/jpeg", 0.8), width, height };
}
