// Makes of a picture what a network takes, as faceproof.data.model_input does in Python.
// A picture is {width, height, data}: RGB, three bytes a pixel, row by row.

const BACKGROUND = "#ffffff"; // what transparent pixels lie on
const MAX_ASPECT = 8; // longer by shorter side of a picture that is enlarged

// Return the pixels of a file, upright, its colours as they are stored.
export async function decode(file, maxPixels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new Error("the file is no picture that this browser can read");
  }
  const { width, height } = bitmap;
  if (width * height > maxPixels) {
    bitmap.close();
    throw new Error(`the picture has ${width} x ${height} pixels; at most ${maxPixels} are taken`);
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = BACKGROUND;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  refuseOtherPixels(data, width * height);
  const rgb = new Uint8ClampedArray(3 * width * height);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return { picture: { width, height, data: rgb }, canvas };
}

// Refuse where the browser gives other pixels than were drawn: some do so to hide who one is, and
// some give none of a picture that is too large for them.
function refuseOtherPixels(data, number) {
  const probe = document.createElement("canvas");
  Object.assign(probe, { width: 16, height: 16 });
  const context = probe.getContext("2d", { willReadFrequently: true });
  const drawn = context.createImageData(16, 16);
  drawn.data.forEach((_, place) => { drawn.data[place] = place % 4 === 3 ? 255 : (37 * place) % 256; });
  context.putImageData(drawn, 0, 0);
  const back = context.getImageData(0, 0, 16, 16).data;
  if (!back.every((value, place) => value === drawn.data[place])) {
    throw new Error("this browser does not let a page read a picture's pixels as they are, to " +
      "protect you; allow this page to use canvas data, or take another browser");
  }
  for (let part = 0; part < 8; part += 1) { // opaque, for it lies on white
    if (data[4 * Math.floor((part * (number - 1)) / 7) + 3] !== 255) {
      throw new Error("the picture is too large for this browser; make it smaller");
    }
  }
}

// Return the squares that a network looks at, each (3, S, S) in [0, 1]: one, or several tiles, and
// with test-time augmentation their mirror images too.
export function views(picture, input) {
  let squares;
  if (input.mode === "resize") {
    squares = [resized(picture, input.size, input.size, input.interpolation)];
  } else {
    const whole = resizedForCrops(picture, input);
    const room = [Math.max(whole.height - input.size, 0), Math.max(whole.width - input.size, 0)];
    const tiles = input.mode === "tiles" ? input.tiles : null;
    squares = places(room, tiles).map(([top, left]) => cut(whole, top, left, input.size));
  }
  const tensors = squares.map(toUnit);
  if (input.tta !== "flip") return tensors;
  return [...tensors, ...tensors.map((one) => mirrored(one, input.size))];
}

// Cropping -------------------------------------------------------------------------------------

function resizedForCrops(picture, { resize_to: side, interpolation }) {
  if (side === null) return picture;
  let whole = picture;
  const shorter = Math.min(whole.width, whole.height);
  if (shorter < side) whole = middle(whole, MAX_ASPECT * shorter);
  const { width, height } = whole;
  if (width <= height) {
    return resized(whole, side, Math.trunc((side * height) / width), interpolation);
  }
  return resized(whole, Math.trunc((side * width) / height), side, interpolation);
}

// Return the middle of a picture that is longer than that.
function middle(picture, longest) {
  const width = Math.min(picture.width, longest);
  const height = Math.min(picture.height, longest);
  const top = roundHalfEven((picture.height - height) / 2);
  const left = roundHalfEven((picture.width - width) / 2);
  return part(picture, top, left, width, height);
}

function roundHalfEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2) : Math.round(value);
}

function part(picture, top, left, width, height) {
  const data = new Uint8ClampedArray(3 * width * height);
  for (let row = 0; row < height; row += 1) {
    const from = 3 * ((top + row) * picture.width + left);
    data.set(picture.data.subarray(from, from + 3 * width), 3 * row * width);
  }
  return { width, height, data };
}

// Return where squares begin, from the top and from the left.
function places(room, tiles) {
  const centre = [Math.floor(room[0] / 2), Math.floor(room[1] / 2)];
  if (tiles === null) return [centre];
  if (tiles === 5) {
    return [centre, [0, 0], [0, room[1]], [room[0], 0], [room[0], room[1]]];
  }
  const side = Math.round(Math.sqrt(tiles));
  const steps = [...Array(side).keys()];
  const at = (step, free) => Math.floor((step * free) / (side - 1));
  return steps.flatMap((down) => steps.map((across) => [at(down, room[0]), at(across, room[1])]));
}

// Return a square; what is too short is continued by mirror images.
function cut(picture, top, left, size) {
  const rows = along(picture.height, top, size);
  const columns = along(picture.width, left, size);
  const data = new Uint8ClampedArray(3 * size * size);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = 3 * (row * picture.width + column);
      data[to] = picture.data[from];
      data[to + 1] = picture.data[from + 1];
      data[to + 2] = picture.data[from + 2];
      to += 3;
    }
  }
  return { width: size, height: size, data };
}

function along(length, start, size) {
  const lacking = size - length;
  const numbers = [...Array(size).keys()];
  if (lacking <= 0) return numbers.map((number) => start + number);
  const before = Math.floor(lacking / 2);
  if (length === 1) return numbers.map(() => 0);
  const period = 2 * (length - 1);
  return numbers.map((number) => {
    const place = (((number - before) % period) + period) % period;
    return place < length ? place : period - place;
  });
}

// Resizing -------------------------------------------------------------------------------------

const FILTERS = {
  bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { reach: 2, weight: cubic },
};

// Keys' kernel with a = -0.5, as Pillow and PyTorch have it where they smooth.
function cubic(value) {
  const x = Math.abs(value);
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function resized(picture, width, height, interpolation) {
  if (picture.width === width && picture.height === height) return picture;
  if (interpolation === "nearest") return nearest(picture, width, height);
  const filter = FILTERS[interpolation];
  const wide = alongRows(picture, width, filter);
  return alongColumns(wide, height, filter);
}

function nearest(picture, width, height) {
  const data = new Uint8ClampedArray(3 * width * height);
  const place = (number, from, to) => Math.min(Math.floor(number * (from / to)), from - 1);
  for (let row = 0, to = 0; row < height; row += 1) {
    const line = place(row, picture.height, height) * picture.width;
    for (let column = 0; column < width; column += 1, to += 3) {
      const from = 3 * (line + place(column, picture.width, width));
      data.set(picture.data.subarray(from, from + 3), to);
    }
  }
  return { width, height, data };
}

// Return for each new pixel the first old one and the weights from there on; they sum to 1.
function weights(length, size, { reach, weight }) {
  const scale = length / size;
  const stretch = Math.max(scale, 1);
  const support = reach * stretch;
  return [...Array(size).keys()].map((number) => {
    const centre = scale * (number + 0.5);
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), length);
    const found = [];
    for (let old = first; old < end; old += 1) found.push(weight((old - centre + 0.5) / stretch));
    const total = found.reduce((sum, one) => sum + one, 0);
    return { first, shares: found.map((one) => one / total) };
  });
}

// A clamped array rounds what is written into it, and keeps it within 0 to 255.
function alongRows(picture, width, filter) {
  if (picture.width === width) return picture;
  const { height } = picture;
  const plan = weights(picture.width, width, filter);
  const data = new Uint8ClampedArray(3 * width * height);
  for (let row = 0; row < height; row += 1) {
    const line = 3 * row * picture.width;
    for (let column = 0; column < width; column += 1) {
      const { first, shares } = plan[column];
      for (let channel = 0; channel < 3; channel += 1) {
        let sum = 0;
        for (let one = 0, from = line + 3 * first + channel; one < shares.length; one += 1, from += 3) {
          sum += shares[one] * picture.data[from];
        }
        data[3 * (row * width + column) + channel] = sum;
      }
    }
  }
  return { width, height, data };
}

function alongColumns(picture, height, filter) {
  if (picture.height === height) return picture;
  const { width } = picture;
  const plan = weights(picture.height, height, filter);
  const data = new Uint8ClampedArray(3 * width * height);
  const sums = new Float64Array(3 * width);
  for (let row = 0; row < height; row += 1) {
    const { first, shares } = plan[row];
    sums.fill(0);
    for (let one = 0; one < shares.length; one += 1) {
      const line = 3 * (first + one) * width;
      for (let place = 0; place < sums.length; place += 1) {
        sums[place] += shares[one] * picture.data[line + place];
      }
    }
    data.set(sums, 3 * row * width);
  }
  return { width, height, data };
}

// Tensors --------------------------------------------------------------------------------------

// Return (3, S, S) float32 in [0, 1].
function toUnit({ width, height, data }) {
  const plane = width * height;
  const tensor = new Float32Array(3 * plane);
  for (let place = 0; place < plane; place += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      tensor[channel * plane + place] = data[3 * place + channel] / 255;
    }
  }
  return tensor;
}

function mirrored(tensor, size) {
  const flipped = new Float32Array(tensor.length);
  for (let line = 0; line < tensor.length; line += size) {
    flipped.set(tensor.slice(line, line + size).reverse(), line);
  }
  return flipped;
}
