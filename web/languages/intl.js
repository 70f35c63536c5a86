// Intl's formats of one language, for the sentences of its catalogue.

/**
 * A form of a text for each plural category that the language has; `other` for the rest.
 * @typedef {Partial<Record<Intl.LDMLPluralRule, string>> & {other: string}} Forms
 */

/** The language code in a tag such as de-AT. @param {string} tag */
export const base = (tag) => tag.split("-")[0] ?? "";

/**
 * The language, with the region if the browser's languages include it. Digits and dates depend on the region: ar-MA
 * and ar-EG have different digits.
 * @param {string} code
 * @param {readonly string[]} [preferred] the browser's languages, best first
 */
export const localeOf = (code, preferred = globalThis.navigator?.languages ?? []) =>
  preferred.find((each) => base(each) === code) ?? code;

/** @param {string} code the language's code in BCP 47 */
export function intl(code) {
  const rules = new Intl.PluralRules(code);
  const numbers = new Intl.NumberFormat(localeOf(code));
  const lists = new Intl.ListFormat(code, { type: "conjunction" });
  return {
    /** The form for this count. @param {number} count @param {Forms} forms */
    plural: (count, forms) => forms[rules.select(count)] ?? forms.other,
    /** A number with the language's digits and separators. @param {number} value */
    number: (value) => numbers.format(value),
    /** "Ada, Grace and Mira". @param {string[]} items */
    list: (items) => lists.format(items),
  };
}
