#compdef faceproof
# Completion of faceproof for zsh, after compinit: source <(faceproof completion zsh)
_faceproof() {
    local -a found
    found=("${(@f)$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2> /dev/null)}")
    found=(${found:#})
    if (( ${#found} )); then
        compadd -- ${found:#*[=.]}
        compadd -S '' -- ${(M)found:#*[=.]}
    else
        _files
    fi
}
compdef _faceproof faceproof
