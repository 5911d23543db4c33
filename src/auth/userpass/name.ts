// The one spelling of a user's name: neither case, nor spaces, nor the form in which a character is written make two
// people of one. Close to toNFKC_Casefold (Unicode 16, section 3.13.4), with runs of spaces as one and none at the ends.
// Known gap: letters of different alphabets that look alike stay different.

const invisible = /[\p{Default_Ignorable_Code_Point}\p{Cc}]/gu;

const fold = (name: string): string =>
  name
    .normalize("NFKC")
    // Line ends and tabs count as spaces, not as control characters.
    .replace(/\s+/gu, " ")
    .replace(invisible, "")
    // Upper case first: "ß" and "SS", "ς" and "σ" are one then.
    .toUpperCase()
    .toLowerCase()
    .normalize("NFKC")
    .replace(/ +/gu, " ")
    .trim();

/** The same for every spelling of a name, and for itself. */
export function normalizeName(name: string): string {
  let folded = name.toWellFormed();
  for (let next = fold(folded); next !== folded; next = fold(folded)) folded = next;
  return folded;
}
