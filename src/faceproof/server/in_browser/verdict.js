// Turns logits into verdicts, as faceproof.inference.verdicts does in Python.

const UNSURE = "unsure";
const NO_FACE = "no face";
const IN_BAND = "the probability lies in the unsure band";
const STRANGE = "unlike the training images";

// What a part says: {logit, novelty} of the mean over the views of each of its networks.
// `found` has {logit, novelty} of each network, in their order.
export function combined(part, found) {
  const novelty = part.novelty_limit === null ? null
    : sum(found, (one, number) => part.networks[number].weight * one.novelty);
  if (part.average === null) return { logit: found[0].logit, novelty };
  const logits = found.map(({ logit }, number) => calibratedLogit(part.networks[number], logit));
  const shares = part.networks.map(({ weight }) => weight);
  if (part.average === "logit") {
    return { logit: sum(logits, (one, number) => shares[number] * one), novelty };
  }
  const side = (sign) => logSumExp(logits
    .map((logit, number) => logExpit(sign * logit) + Math.log(shares[number]))
    .filter((_, number) => shares[number] > 0));
  return { logit: side(1) - side(-1), novelty };
}

// The answer of a part, with the fields of the API's answer on an image.
export function verdictOf(part, { logit, novelty }) {
  if (!Number.isFinite(logit)) throw new Error("the detector gives no finite number");
  const probability = Math.fround(calibrated(part.calibration, logit));
  const called = part.classes[probability >= part.threshold ? 1 : 0];
  const [low, high] = part.unsure;
  const isUnsure = probability >= low && probability < high;
  const answer = {
    verdict: isUnsure ? UNSURE : called, called, probability, logit: Math.fround(logit),
    threshold: part.threshold, task: part.task, gate_probability: null, unsure: part.unsure,
    reason: isUnsure ? IN_BAND : null,
  };
  if (novelty === null) return answer;
  const rounded = Math.fround(novelty);
  const strange = rounded > part.novelty_limit;
  return {
    ...answer, verdict: strange ? UNSURE : answer.verdict, novelty: rounded, is_strange: strange,
    reason: strange ? STRANGE : answer.reason,
  };
}

// The answer where a gate finds no face.
export function withoutFace(part) {
  return {
    verdict: NO_FACE, called: NO_FACE, probability: null, logit: null, threshold: part.threshold,
    task: part.task, gate_probability: null, unsure: part.unsure, reason: null,
  };
}

// Numbers --------------------------------------------------------------------------------------

const sum = (values, of) => values.reduce((total, one, number) => total + of(one, number), 0);
const logExpit = (x) => (x < 0 ? x - Math.log1p(Math.exp(x)) : -Math.log1p(Math.exp(-x)));

function logSumExp(values) {
  const most = Math.max(...values);
  return most + Math.log(sum(values, (one) => Math.exp(one - most)));
}

function calibrated({ method, temperature, knots }, logit) {
  return method === "isotonic" ? interpolated(knots, logit) : 1 / (1 + Math.exp(-logit / temperature));
}

function calibratedLogit({ calibration }, logit) {
  if (calibration.method !== "isotonic") return logit / calibration.temperature;
  const share = interpolated(calibration.knots, logit);
  return Math.log(share / (1 - share));
}

// Linear between the knots (logit, probability), level outside.
function interpolated(knots, logit) {
  const after = knots.findIndex(([place]) => place >= logit);
  if (after === 0) return knots[0][1];
  if (after < 0) return knots[knots.length - 1][1];
  const [[left, low], [right, high]] = [knots[after - 1], knots[after]];
  return Math.min(low + ((high - low) / (right - left)) * (logit - left), high);
}
