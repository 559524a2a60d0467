"""How well text can be read on a page: contrast by the formula of WCAG 2, through all that is translucent."""

from typing import Any

from playwright.sync_api import Page

ENOUGH = 4.5
"""WCAG 2.1, level AA, text of normal size."""
_STILL = """() => Promise.all(document.getAnimations()
    .filter(animation => animation.effect.getComputedTiming().iterations !== Infinity)
    .map(animation => animation.finished))"""
_LOOK = """roots => {
    const parsed = text => {
        const numbers = (text.match(/[\\d.]+/g) || []).map(Number);
        const [r, g, b, a = 1] = numbers;
        return text.startsWith('color(srgb') ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
    };
    const over = (top, below) => top.slice(0, 3).map((part, i) => part * top[3] + below[i] * (1 - top[3]));
    const luminance = colour => colour
        .map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    /* All colours that may stand behind an element: a gradient has several. */
    const behind = element => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            const style = getComputedStyle(at);
            const stops = style.backgroundImage.match(/rgba?\\([^)]*\\)|color\\([^)]*\\)/g);
            const found = stops ? stops.map(parsed) : [parsed(style.backgroundColor)];
            layers.push(found);
            if (found.every(colour => colour[3] === 1)) break;
        }
        const paint = (below, found) => below.flatMap(base => found.map(colour => over(colour, base)));
        return layers.reverse().reduce(paint, [[255, 255, 255]]);
    };
    const opacity = element => {
        let product = 1;
        for (let at = element; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
        return product;
    };
    const hasText = element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll(roots)].flatMap(root => [root, ...root.querySelectorAll('*')])
        .filter(element => hasText(element) && element.checkVisibility({visibilityProperty: true}))
        .filter(element => element.getClientRects().length && !element.closest('[disabled], .imp-sr'))
        .map(element => {
            const colour = parsed(getComputedStyle(element).color);
            colour[3] *= opacity(element);
            const worst = Math.min(...behind(element).map(base => contrast(over(colour, base), base)));
            return {text: element.textContent.trim().slice(0, 60), contrast: Math.round(worst * 100) / 100};
        });
}"""


def contrasts(page: Page, roots: str) -> list[dict[str, Any]]:
    """`text` and `contrast` of each visible element with text of its own, below what a CSS selector finds.

    What is disabled, or only for screen readers, is left out.
    """
    page.evaluate(_STILL)
    found: list[dict[str, Any]] = page.evaluate(_LOOK, roots)
    return found
