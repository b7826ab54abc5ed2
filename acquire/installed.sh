# Prints a file of this host after its size; writes nothing. Run by sh as root.
# $1 marks the output, $2 is the file, $3 how many bytes it may have.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
size=$(wc -c <"$2") || exit 1
printf '\n@%s %d\n' "$1" "$size"
[ "$size" -gt "$3" ] || cat "$2"
