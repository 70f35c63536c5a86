// Intl's formats of one language, for the sentences of its catalogue.

/**
 * A form of a text for each plural category that the language has; `other` for the rest.
 * @typedef {Partial<Record<Intl.LDMLPluralRule, string>> & {other: string}} Forms
 */

/** @param {string} code the language's code in BCP 47 */
export function intl(code) {
  const rules = new Intl.PluralRules(code);
  const numbers = new Intl.NumberFormat(code);
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
