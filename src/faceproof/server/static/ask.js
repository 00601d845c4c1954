// Asks the server: sends a file to the HTTP API and returns its answer.

const settings = JSON.parse(document.getElementById("page").dataset.settings);

export async function ask(file, options, signal) {
  if (file.size > settings.max_megabytes * 1e6) {
    throw new Error(
      `the file is too large; at most ${settings.max_megabytes} megabytes are taken`,
    );
  }
  const form = new FormData();
  form.append("file", file, "upload"); // the server does not learn what the file is called
  let answer;
  try {
    const query = new URLSearchParams(options);
    const headers = { "X-Faceproof-Page": "1" }; // for the server's count of uploads
    answer = await fetch(`api/predict?${query}`, { method: "POST", body: form, headers, signal });
  } catch {
    throw new Error("the server cannot be reached, or the file has changed; try again");
  }
  if (answer.status === 401) location.assign("login"); // the server was started anew
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Error(said.error || `the server answers with the error ${answer.status}`);
  }
  return said;
}
