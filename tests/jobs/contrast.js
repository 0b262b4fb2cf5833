// Of each text that is seen: its contrast with what is behind it (WCAG 2), and the text.
(() => {
  const channels = colour => colour.match(/[\d.]+/g).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
  const luminance = colour => {
    const [r, g, b] = colour.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    if (!e) return [255, 255, 255];
    const below = behind(e.parentElement), style = getComputedStyle(e);
    const image = style.backgroundImage.match(/rgba?\([^)]*\)/);  // of a meter
    const plain = over(channels(style.backgroundColor), below);
    return image ? over(channels(image[0]), plain) : plain;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), seen = [];
  while (walker.nextNode()) {
    const text = walker.currentNode, e = text.parentElement;
    if (!text.data.trim() || !e.checkVisibility()) continue;
    const back = behind(e), front = over(channels(getComputedStyle(e).color), back);
    const [low, high] = [luminance(back), luminance(front)].sort((a, b) => a - b);
    seen.push([(high + 0.05) / (low + 0.05), text.data.trim().slice(0, 40)]);
  }
  return seen;
})()
