# Completion of faceproof for bash: source <(faceproof completion bash)
_faceproof() {
    local line="${COMP_LINE:0:COMP_POINT}" word
    local -a typed
    read -ra typed <<< "$line"
    [[ $line == *[[:space:]] ]] && typed+=("")
    COMPREPLY=()
    while IFS= read -r word; do
        [[ -z $word ]] && continue
        # Bash takes = for the end of a word, and completes what stands behind it.
        [[ ${typed[${#typed[@]} - 1]} == *=* && $COMP_WORDBREAKS == *=* ]] && word="${word#*=}"
        COMPREPLY+=("$word")
    done < <("${typed[0]}" --complete "${typed[@]:1}" 2> /dev/null)
    # Before bash 4, which macOS has, a space follows.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2> /dev/null
    return 0
}
complete -o default -F _faceproof faceproof
