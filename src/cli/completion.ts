// What makes bash and zsh complete `writ`: it needs nothing beside the shell.
// Must hold: what is typed so far is handed over as it is, and no word of it is evaluated. (The scripts that the library brings
// evaluate: `writ kv get $(…)`, or in zsh `--x$(…)=`, and a tab would run what stands in the brackets. So does the one for
// powershell, which is therefore not offered. The one for fish does not, and is the library's.)

const bash = String.raw`# bash completion for writ
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

const zsh = String.raw`#compdef writ
compdef _writ writ

# zsh completion for writ
_writ() {
  local line tab=$'\t'
  local -a values shown
  while IFS= read -r line; do
    [[ $line == :* ]] && continue
    values+=("\${line%%$tab*}")
    shown+=("\${line/$tab/  -- }")
  done < <(writ complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  # The values of --format= come without it.
  [[ $PREFIX == -*=* ]] && compset -P 1 '*='
  compadd -l -d shown -a values
}

# As a file of fpath it is the function's body, and runs at its first call.
if [[ "\${funcstack[1]}" == _writ ]]; then
  _writ "$@"
fi
`.replaceAll("\\${", "${");

export const completions = { bash, zsh };
