# Completion of faceproof for fish: faceproof completion fish | source
function __faceproof_words
    set -l typed (commandline -opc)
    set -l word (commandline -ct | string collect --allow-empty)
    set -l found ($typed[1] --complete $typed[2..-1] $word 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else if string match -q -- '*=*' $word
        set -l key (string replace -r -- '=.*' '=' $word)
        for path in (__fish_complete_path (string replace -r -- '^[^=]*=' '' $word))
            printf '%s%s\n' $key $path
        end
    else
        __fish_complete_path $word
    end
end
complete -c faceproof -f -a '(__faceproof_words)'
