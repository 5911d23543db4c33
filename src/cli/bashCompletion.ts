// What makes bash complete `writ`: it needs nothing beside bash.
// Must hold: what is typed so far is handed over as it is, and no word of it is evaluated. (The script that the library brings
// needs the package bash-completion, and evaluates: `writ kv get $(…)` and a tab would run what stands in the brackets.)

export const bashCompletion = String.raw`# bash completion for writ
_writ() {
  local word=\${COMP_WORDS[COMP_CWORD]} each line
  local -a words=()
  # To bash --format=json is three words.
  for each in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    [[ $each == = ]] || words+=("$each")
  done
  if [[ $word == = ]]; then
    word=
    words+=('')
  fi
  COMPREPLY=()
  while IFS= read -r line; do
    line=\${line%%$'\t'*}
    [[ $line == :* || $line != "$word"* ]] || COMPREPLY+=("$line")
  done < <(writ complete -- "\${words[@]}" 2>/dev/null)
}
complete -o default -F _writ writ
`.replaceAll("\\${", "${");
