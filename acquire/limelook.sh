# Shows which processes of limezip.sh are there. Run by sh as root. $2 marks them, $3 are the
# seconds that they get to end by themselves.
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export LC_ALL PATH
n=$1 mark=$2 patience=$3
s() { printf '\n@@%s %s\n' "$n" "$1"; }
processes "$mark" "$patience"
s end
