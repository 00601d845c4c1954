// The page of a detector: takes a picture or a video, has it judged, and shows the answer.

import { answerView, h, problemView } from "./answer.js";
import { ask } from "./ask.js";

const panel = document.getElementById("answer");
const spoken = document.getElementById("spoken");
const findFaces = document.getElementById("faces"); // null where the server finds none
let current = null; // the file that was judged last, so that it can be sent again
let running = null; // aborts the request that is under way

// Judging --------------------------------------------------------------------------------------

// Judges a file and shows the answer, unless another file is chosen meanwhile.
async function judge(file) {
  if (!file) return;
  if (running) running.abort();
  const mine = new AbortController();
  [current, running] = [file, mine];
  const waiting = h("p", {}, h("span", { class: "spinner" }), "Looking …");
  panel.replaceChildren(h("div", { class: "answer waiting" }, waiting));
  panel.setAttribute("aria-busy", "true");
  spoken.textContent = "Looking";
  const asked = findFaces ? { faces: findFaces.checked } : {};
  let shown;
  let words = "";
  try {
    const answer = await ask(file, { ...asked, thumbnails: true }, mine.signal);
    const askMap = async () => (await ask(file, { ...asked, map: true }, mine.signal)).map;
    shown = answerView(answer, askMap);
    words = `${answer.verdict}. ${shown.querySelector(".said").textContent}`;
  } catch (error) {
    shown = problemView(error.message);
  }
  if (running !== mine) return;
  spoken.textContent = words;
  panel.replaceChildren(shown);
  panel.setAttribute("aria-busy", "false");
  if (matchMedia("(max-width: 50rem)").matches) {
    // Without its pictures the page may be too short to bring the answer to the top.
    const pictures = [...shown.querySelectorAll("img")];
    await Promise.allSettled(pictures.map((picture) => picture.decode()));
    panel.scrollIntoView();
  }
}

// Choosing, dropping, pasting ------------------------------------------------------------------

function chooseFrom(input) {
  input.addEventListener("change", () => {
    judge(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
}

const drop = document.getElementById("drop");
chooseFrom(document.getElementById("file"));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  judge(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => judge(event.clipboardData.files[0]));
if (findFaces) findFaces.addEventListener("change", () => judge(current));

// The camera -----------------------------------------------------------------------------------

const camera = document.getElementById("camera");
const view = document.getElementById("camera-view");
const opener = document.getElementById("camera-open");

async function openCamera() {
  try {
    const wanted = { video: { width: { ideal: 1280 }, facingMode: "user" } };
    view.srcObject = await navigator.mediaDevices.getUserMedia(wanted);
  } catch (error) {
    const refused = error.name === "NotAllowedError";
    panel.replaceChildren(problemView(refused ? "this browser does not let the page use the camera"
      : `the camera cannot be used: ${error.message || error.name}`));
    return;
  }
  camera.hidden = false;
  opener.hidden = true;
  document.getElementById("camera-take").focus();
}

function closeCamera() {
  for (const track of view.srcObject ? view.srcObject.getTracks() : []) track.stop();
  view.srcObject = null;
  camera.hidden = true;
  opener.hidden = false;
  opener.focus();
}

function takePhoto() {
  if (!view.videoWidth) return; // the camera has not sent anything yet
  const canvas = h("canvas", { width: view.videoWidth, height: view.videoHeight });
  canvas.getContext("2d").drawImage(view, 0, 0);
  closeCamera();
  canvas.toBlob((blob) => judge(blob), "image/jpeg", 0.95);
}

opener.addEventListener("click", openCamera);
document.getElementById("camera-take").addEventListener("click", takePhoto);
document.getElementById("camera-close").addEventListener("click", closeCamera);
// A phone has an app for its camera; elsewhere the page shows what the camera sees. A browser
// offers the second on https and on this machine alone.
chooseFrom(document.getElementById("photo"));
if (matchMedia("(pointer: coarse)").matches) {
  document.getElementById("photo-label").hidden = false;
} else if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) {
  opener.hidden = false;
}
