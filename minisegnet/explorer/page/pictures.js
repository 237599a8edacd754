// The pictures at the top: what went in, the truth, the prediction, and where it is wrong.

const NAMES = [["picture", "picture"], ["truth", "truth"], ["prediction", "prediction"], ["wrong", "wrong pixels"]];
const VOID = [200, 200, 200];

// Draws them; a click calls onPick(row, column). Returns { picture: canvas, mark }: mark([row, column])
// takes shares of the height and width.
export function drawPictures(pass, root, onPick) {
  const picture = pass.decode("picture");
  const [H, W] = picture.shape;
  const { colours, hasTruth } = pass.about;
  const target = pass.array(pass.loss, "target").data;
  const scores = pass.array(pass.loss, "scores");
  const isMap = scores.shape.length === 4;
  const C = scores.shape[1];
  const predicted = (i) => {
    let best = 0;
    for (let c = 1; c < C; c++) if (scores.data[c * H * W + i] > scores.data[best * H * W + i]) best = c;
    return best;
  };
  const isVoid = (i) => target[i] === pass.loss.config.ignore_index;
  const pixel = {
    picture: (i) => [0, 1, 2].map((k) => picture.data[3 * i + k]),
    truth: (i) => (isVoid(i) ? VOID : colours[target[i]]),
    prediction: (i) => colours[predicted(i)],
    wrong: (i) => (isVoid(i) ? VOID : target[i] === predicted(i) ? [255, 255, 255] : [213, 0, 30]),
  };
  const made = {};
  for (const [id, name] of isMap ? NAMES : NAMES.slice(0, 1)) {
    const figure = document.createElement("figure");
    const caption = id === "truth" && !hasTruth ? "asked for (no mask)" : name;
    figure.innerHTML = `<canvas width="${W}" height="${H}" style="--ratio:${H / W}" role="img" aria-label="${caption}"></canvas><i class="mark" hidden></i><figcaption>${caption}</figcaption>`;
    const canvas = figure.querySelector("canvas");
    const context = canvas.getContext("2d");
    const image = context.createImageData(W, H);
    for (let i = 0; i < H * W; i++) image.data.set([...pixel[id](i), 255], 4 * i);
    context.putImageData(image, 0, 0);
    if (isMap) {
      canvas.addEventListener("click", (event) => {
        const area = canvas.getBoundingClientRect();
        onPick(
          Math.min(H - 1, Math.floor(((event.clientY - area.top) / area.height) * H)),
          Math.min(W - 1, Math.floor(((event.clientX - area.left) / area.width) * W)),
        );
      });
    }
    root.append(figure);
    made[id] = canvas;
  }
  const mark = ([row, column]) => {
    for (const canvas of Object.values(made)) {
      const sign = canvas.nextElementSibling;
      sign.hidden = !isMap;
      sign.style.left = `${canvas.offsetLeft + column * canvas.clientWidth}px`;
      sign.style.top = `${canvas.offsetTop + row * canvas.clientHeight}px`;
    }
  };
  return { picture: made.picture, mark };
}
