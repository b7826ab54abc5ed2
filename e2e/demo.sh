#!/usr/bin/env bash
# Captures a real guest and verifies the image: what `make demo` runs once the
# lab is built. The evidence stays in demo-out/.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${LAB_PORT:-}" ]; then
	begin=$SECONDS
	make -s build
	rm -rf demo-out
	mkdir -m 700 demo-out
	go run ./e2e/lab/run -s3 -exec e2e/demo.sh
	echo "demo: done in $((SECONDS - begin)) s; the evidence is in demo-out/"
	exit
fi

run() { # shows a command, then runs it
	printf '\n$ %s\n' "${*/#$HOME/\~}"
	"$@"
}
cp "$LAB_MODULE" demo-out/lime.ko
pin=$(sha256sum <demo-out/lime.ko | cut -d' ' -f1)
run ssh-keygen -q -t ed25519 -N '' -C investigator -f demo-out/sign
echo "investigator $(cat demo-out/sign.pub)" >demo-out/signers

run ./shotglass capture \
	--user ops --port "$LAB_PORT" --key "$LAB_KEY" --known-hosts "$LAB_KNOWN_HOSTS" \
	--ssh-config none --no-agent \
	--module demo-out/lime.ko --module-sha256 "$pin" \
	--case demo --sign-key demo-out/sign --output demo-out 127.0.0.1

image=$(ls demo-out/*-mem.lime.zst)
run ./shotglass verify --signers demo-out/signers "$image"
run ./shotglass inspect "$image"
printf '\n$ %s\n' "ssh-keygen -Y verify -f demo-out/signers -I investigator -n manifest@shotglass-ir -s $image.json.sig < $image.json"
ssh-keygen -Y verify -f demo-out/signers -I investigator -n manifest@shotglass-ir -s "$image.json.sig" <"$image.json"

printf '\n$ %s\n' "./shotglass cat $image > demo-out/raw.lime; vol -f demo-out/raw.lime banners.Banners"
./shotglass cat "$image" >demo-out/raw.lime
"$LAB_VOLATILITY" -q -f demo-out/raw.lime banners.Banners | tee demo-out/banners
want=$(sed -n 's/.*"banner_address": \([0-9]*\).*/\1/p' "$image.json")
printf 'The manifest places linux_banner at 0x%x.\n' "$want"
grep -q "$(printf '^0x%x[[:space:]]' "$want")" demo-out/banners
rm demo-out/raw.lime demo-out/banners

# The same into a bucket: a local S3 server with TLS, versioning and Object Lock.
s3=(--s3-endpoint "$LAB_S3_ENDPOINT" --s3-path-style)
run ./shotglass capture \
	--user ops --port "$LAB_PORT" --key "$LAB_KEY" --known-hosts "$LAB_KNOWN_HOSTS" \
	--ssh-config none --no-agent \
	--module demo-out/lime.ko --module-sha256 "$pin" \
	--case demo --sign-key demo-out/sign \
	--to "s3://$LAB_S3_BUCKET/demo/" "${s3[@]}" --s3-lock governance --s3-retain 1d \
	127.0.0.1 | tee demo-out/result
object=$(tail -n 1 demo-out/result | cut -f 6)
rm demo-out/result
run ./shotglass verify "${s3[@]}" --signers demo-out/signers "$object"
