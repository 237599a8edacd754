// Drawing again makes new elements. The one that had the keyboard's focus hands it to its successor.

export function keepingFocus(work) {
  const successor = selectorOf(document.activeElement ?? document.body);
  work();
  const next = successor && document.querySelector(successor);
  if (next && next !== document.activeElement) next.focus({ preventScroll: true });
}

// Where to find what stands for an element after drawing; "" for what stays, and for what can't be told from others.
function selectorOf(element) {
  const panel = element.closest(".panel");
  if (panel) return `.panel[data-array="${CSS.escape(panel.dataset.array)}"] ${element.matches(".strip") ? ".strip" : "td[tabindex='0']"}`;
  if (element.matches(".box")) return ".box.here";
  const card = element.closest(".card");
  if (card) return `.card[data-card="${card.dataset.card}"] button`;
  if (element.dataset.view) return `#views [data-view="${CSS.escape(element.dataset.view)}"]`;
  if (element.id === "rotate") return "#rotate";
  return ["list", "order", "step"].filter((name) => element.matches(`.terms .${name}`)).map((name) => `.terms .${name}`).join();
}
