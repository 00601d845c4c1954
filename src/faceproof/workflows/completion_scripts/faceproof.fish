# Completion of faceproof for fish: faceproof completion fish | source
function __faceproof_words
    set -l typed (commandline -opc)
    $typed[1] --complete $typed[2..-1] (commandline -ct | string collect --allow-empty) 2>/dev/null
end
complete -c faceproof -a '(__faceproof_words)'
