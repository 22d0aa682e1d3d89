// Shows the name of the region or point under the pointer, or of the point that the arrow keys step to.
// Gradio runs this for the HTML of the result, which is `element`.
const showName = target => {
  const caption = element.querySelector(".caption");
  const title = target?.querySelector?.(":scope > title");
  if (caption) caption.textContent = title ? title.textContent : caption.dataset.hint;
};
element.addEventListener("pointerover", event => showName(event.target));
element.addEventListener("click", event => showName(event.target));
element.addEventListener("keydown", event => {
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  const points = [...element.querySelectorAll(".landmarks circle")];
  if (!step || !points.length || !event.target.matches(".picture")) return;
  event.preventDefault();
  const before = points.findIndex(point => point.matches(".current"));
  const now = points[before < 0 && step < 0 ? points.length - 1 : (before + step + points.length) % points.length];
  points[before]?.classList.remove("current");
  now.classList.add("current");
  showName(now);
});
