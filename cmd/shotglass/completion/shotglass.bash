# bash completion for shotglass; made by: shotglass completion bash

_shotglass() {
	local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" cmd="${COMP_WORDS[1]}"
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W "capture plan verify report cat inspect convert mount serve-image live triage symbols upload contain status release lockdown hosts inventory key ready gather bucket workstation modules version completion man help --help --version" -- "$cur"))
		return
	fi
	local flags= words= files= hosts=
	case "$cmd" in
	capture)
		case "$prev" in
		--config|-c) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--to) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--name) return ;;
		--case) return ;;
		--operator) return ;;
		--sign-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--compress) COMPREPLY=($(compgen -W "zstd s2 none" -- "$cur")); return ;;
		--compress-level) COMPREPLY=($(compgen -W "fastest default better" -- "$cur")); return ;;
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--recipient) return ;;
		--recipients-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--user|-l) return ;;
		--port|-p) return ;;
		--jump|-J) return ;;
		--proxy-command) return ;;
		--ssh-config) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--known-hosts) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--host-key) return ;;
		--connect-timeout|--dial-timeout) return ;;
		--connect-attempts) return ;;
		--key|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--password-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--sudo-password-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--method) return ;;
		--connections) return ;;
		--compress-on-target) return ;;
		--collect) return ;;
		--accept-unreadable) return ;;
		--avml) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--avml-sha256) return ;;
		--avml-folder) return ;;
		--freeze-exempt) return ;;
		--freeze-lease) return ;;
		--module) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--module-sha256) return ;;
		--stall-timeout) return ;;
		--min-rate) return ;;
		--cleanup-timeout) return ;;
		--parallel) return ;;
		--memory-budget) return ;;
		--limit-rate) return ;;
		--limit-total-rate) return ;;
		--compress-threads) return ;;
		--progress) COMPREPLY=($(compgen -W "auto bar lines none" -- "$cur")); return ;;
		--log-dir) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--log-prefix) return ;;
		--notify) return ;;
		--notify-secret-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--repository) return ;;
		--repository-key) return ;;
		--repository-manifest) return ;;
		--module-cache) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--repository-ca) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		--spill) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-segment-size) return ;;
		--s3-kms-key) return ;;
		--s3-storage-class) return ;;
		--s3-tag) return ;;
		--s3-lock) return ;;
		--s3-retain) return ;;
		--contain) return ;;
		--watch) return ;;
		--journal) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--journal-to) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--break-glass) return ;;
		--ec2) return ;;
		--ec2-region) return ;;
		--ec2-account) return ;;
		--ec2-address) return ;;
		--ec2-connect) return ;;
		--ec2-host-keys) return ;;
		--ec2-tunnel-rate) return ;;
		--ec2-user) return ;;
		--ec2-limit) return ;;
		--gather) return ;;
		--snapshot-wait) return ;;
		--snapshot-lock) return ;;
		--snapshot-irreversible) return ;;
		--snapshot-copy-key) return ;;
		--snapshot-share) return ;;
		--trail-since) return ;;
		--trail-pages) return ;;
		esac
		flags="--config -c --to --output -o --name --case --operator --sign-key --unsigned --compress --compress-level --resume --signers --recipient --recipients-file --allow-low-space --user -l --port -p --jump -J --proxy-command --ssh-config --known-hosts --host-key --insecure-ignore-host-key --connect-timeout --dial-timeout --connect-attempts --key -i --no-agent --password-file --ask-password --sudo-password-file --ask-sudo-password --key-passphrase-file --method --connections --compress-on-target --swap --collect --symbols --accept-unreadable --avml --avml-sha256 --avml-folder --freeze --freeze-exempt --freeze-lease --module --module-sha256 --insecure-unverified-module --insecure-installed-module --stall-timeout --min-rate --cleanup-timeout --parallel --memory-budget --require-all --limit-rate --limit-total-rate --compress-threads --json --quiet -q --progress --log-dir --log-prefix --notify --notify-secret-file --insecure-notify-http --repository --repository-key --repository-manifest --gpg-no-verify --offline --module-cache --repository-ca --insecure-repository-http --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --spill --s3-segment-size --s3-kms-key --s3-storage-class --s3-tag --s3-lock --s3-retain --s3-legal-hold --contain --lock-first --protect-first --watch --require-verified --despite-denied --journal --journal-to --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --break-glass --ec2 --ec2-region --ec2-account --ec2-address --ec2-connect --ec2-host-keys --ec2-tunnel-rate --ec2-user --ec2-limit --gather --snapshot-wait --snapshot-again --snapshot-lock --snapshot-irreversible --snapshot-copy-key --snapshot-share --trail-since --trail-pages --help -h"
		words="" hosts=1
		;;
	plan)
		case "$prev" in
		--config|-c) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--to) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--name) return ;;
		--case) return ;;
		--operator) return ;;
		--sign-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--compress) COMPREPLY=($(compgen -W "zstd s2 none" -- "$cur")); return ;;
		--compress-level) COMPREPLY=($(compgen -W "fastest default better" -- "$cur")); return ;;
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--recipient) return ;;
		--recipients-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--user|-l) return ;;
		--port|-p) return ;;
		--jump|-J) return ;;
		--proxy-command) return ;;
		--ssh-config) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--known-hosts) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--host-key) return ;;
		--connect-timeout|--dial-timeout) return ;;
		--connect-attempts) return ;;
		--key|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--password-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--sudo-password-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--method) return ;;
		--connections) return ;;
		--compress-on-target) return ;;
		--collect) return ;;
		--accept-unreadable) return ;;
		--avml) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--avml-sha256) return ;;
		--avml-folder) return ;;
		--freeze-exempt) return ;;
		--freeze-lease) return ;;
		--module) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--module-sha256) return ;;
		--stall-timeout) return ;;
		--min-rate) return ;;
		--cleanup-timeout) return ;;
		--parallel) return ;;
		--memory-budget) return ;;
		--limit-rate) return ;;
		--limit-total-rate) return ;;
		--compress-threads) return ;;
		--progress) COMPREPLY=($(compgen -W "auto bar lines none" -- "$cur")); return ;;
		--log-dir) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--log-prefix) return ;;
		--notify) return ;;
		--notify-secret-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--repository) return ;;
		--repository-key) return ;;
		--repository-manifest) return ;;
		--module-cache) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--repository-ca) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		--spill) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-segment-size) return ;;
		--s3-kms-key) return ;;
		--s3-storage-class) return ;;
		--s3-tag) return ;;
		--s3-lock) return ;;
		--s3-retain) return ;;
		--contain) return ;;
		--watch) return ;;
		--journal) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--journal-to) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--break-glass) return ;;
		--ec2) return ;;
		--ec2-region) return ;;
		--ec2-account) return ;;
		--ec2-address) return ;;
		--ec2-connect) return ;;
		--ec2-host-keys) return ;;
		--ec2-tunnel-rate) return ;;
		--ec2-user) return ;;
		--ec2-limit) return ;;
		--gather) return ;;
		--snapshot-wait) return ;;
		--snapshot-lock) return ;;
		--snapshot-irreversible) return ;;
		--snapshot-copy-key) return ;;
		--snapshot-share) return ;;
		--trail-since) return ;;
		--trail-pages) return ;;
		--page) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		esac
		flags="--config -c --to --output -o --name --case --operator --sign-key --unsigned --compress --compress-level --resume --signers --recipient --recipients-file --allow-low-space --user -l --port -p --jump -J --proxy-command --ssh-config --known-hosts --host-key --insecure-ignore-host-key --connect-timeout --dial-timeout --connect-attempts --key -i --no-agent --password-file --ask-password --sudo-password-file --ask-sudo-password --key-passphrase-file --method --connections --compress-on-target --swap --collect --symbols --accept-unreadable --avml --avml-sha256 --avml-folder --freeze --freeze-exempt --freeze-lease --module --module-sha256 --insecure-unverified-module --insecure-installed-module --stall-timeout --min-rate --cleanup-timeout --parallel --memory-budget --require-all --limit-rate --limit-total-rate --compress-threads --json --quiet -q --progress --log-dir --log-prefix --notify --notify-secret-file --insecure-notify-http --repository --repository-key --repository-manifest --gpg-no-verify --offline --module-cache --repository-ca --insecure-repository-http --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --spill --s3-segment-size --s3-kms-key --s3-storage-class --s3-tag --s3-lock --s3-retain --s3-legal-hold --contain --lock-first --protect-first --watch --require-verified --despite-denied --journal --journal-to --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --break-glass --ec2 --ec2-region --ec2-account --ec2-address --ec2-connect --ec2-host-keys --ec2-tunnel-rate --ec2-user --ec2-limit --gather --snapshot-wait --snapshot-again --snapshot-lock --snapshot-irreversible --snapshot-copy-key --snapshot-share --trail-since --trail-pages --page --help -h"
		words="" hosts=1
		;;
	verify)
		case "$prev" in
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--at) return ;;
		--workers) return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--signers --at --workers --json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words="" files=1
		;;
	report)
		case "$prev" in
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--at) return ;;
		--workers) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--output -o --signers --at --verify --workers --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	cat)
		case "$prev" in
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--force -f --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words="" files=1
		;;
	inspect)
		case "$prev" in
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words="" files=1
		;;
	convert)
		case "$prev" in
		--form) return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--to) return ;;
		--name) return ;;
		--compress-level) COMPREPLY=($(compgen -W "fastest default better" -- "$cur")); return ;;
		--max-padding) return ;;
		--vmcoreinfo) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--iomem) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--case) return ;;
		--operator) return ;;
		--sign-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--recipient) return ;;
		--recipients-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		--s3-segment-size) return ;;
		--s3-kms-key) return ;;
		--s3-storage-class) return ;;
		--s3-tag) return ;;
		--s3-lock) return ;;
		--s3-retain) return ;;
		esac
		flags="--form --output -o --to --name --compress-level --max-padding --vmcoreinfo --from-raw --iomem --no-manifest --signers --case --operator --sign-key --key-passphrase-file --unsigned --recipient --recipients-file --json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --s3-segment-size --s3-kms-key --s3-storage-class --s3-tag --s3-lock --s3-retain --s3-legal-hold --help -h"
		words="" files=1
		;;
	mount)
		case "$prev" in
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--cache) return ;;
		--read-timeout) return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--allow-other --signers --unchecked --cache --read-timeout --json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	serve-image)
		case "$prev" in
		--listen) return ;;
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--cache) return ;;
		--read-timeout) return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--listen --insecure-listen --signers --unchecked --cache --read-timeout --json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	live)
		case "$prev" in
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--output -o --json --signers --unchecked --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	triage)
		case "$prev" in
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--volatility) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--symbols|-s) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--plugin) return ;;
		--parallel) return ;;
		--timeout) return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--signers --unverified --volatility --symbols -s --unpack --plugin --parallel --timeout --output -o --json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	symbols)
		case "$prev" in
		--from) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--vmlinux) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--release) return ;;
		--machine) return ;;
		--apt-sources) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--system-map) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--banner) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity|-i) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--identity-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--from --vmlinux --fetch --release --machine --apt-sources --system-map --banner --output -o --json --identity -i --identity-passphrase-file --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	upload)
		case "$prev" in
		--signers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--sign-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--signers --sign-key --key-passphrase-file --json --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	contain)
		case "$prev" in
		--mode) return ;;
		--without) return ;;
		--cut) return ;;
		--deny-address) return ;;
		--forensic) return ;;
		--forensic-port) return ;;
		--untrack-wait) return ;;
		--watch) return ;;
		--irreversible) return ;;
		--quarantine-tag) return ;;
		--accept-risk) return ;;
		--case) return ;;
		--journal) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--journal-to) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--break-glass) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--mode --without --cut --deny-address --forensic --forensic-port --untrack-wait --watch --irreversible --key-only --quarantine-tag --dry-run --yes --accept-risk --resume --despite-denied --require-verified --case --journal --journal-to --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --break-glass --json --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	status)
		case "$prev" in
		--case) return ;;
		--journal) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--journal-to) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--break-glass) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--case --journal --journal-to --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --break-glass --json --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	release)
		case "$prev" in
		--also) return ;;
		--stage) return ;;
		--case) return ;;
		--journal) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--journal-to) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--break-glass) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--reactivate-keys --also --force --stage --case --journal --journal-to --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --break-glass --json --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	lockdown)
		case "$prev" in
		--topic) return ;;
		--external-id-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--action) return ;;
		--case) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		esac
		flags="--topic --external-id-file --ask-external-id --action --case --dry-run --yes --aws-profile --aws-endpoint --json --help -h"
		words=""
		;;
	hosts)
		case "$prev" in
		esac
		flags="--json --help -h"
		words="check" files=1
		;;
	inventory)
		case "$prev" in
		--related) return ;;
		--flows) return ;;
		--flows-max) return ;;
		--ec2-region) return ;;
		--ec2-account) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		esac
		flags="--related --flows --flows-max --wide --ec2-region --ec2-account --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --json --help -h"
		words=""
		;;
	key)
		case "$prev" in
		--since) return ;;
		--until) return ;;
		--trail-region) return ;;
		--trail) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--account) return ;;
		--depth) return ;;
		--identities) return ;;
		--pages) return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--sign-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--mode) return ;;
		--without) return ;;
		--cut) return ;;
		--deny-address) return ;;
		--forensic) return ;;
		--forensic-port) return ;;
		--untrack-wait) return ;;
		--watch) return ;;
		--irreversible) return ;;
		--quarantine-tag) return ;;
		--accept-risk) return ;;
		--case) return ;;
		--journal) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--journal-to) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--break-glass) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--since --until --trail-region --trail --account --depth --identities --pages --timeline --output -o --sign-key --key-passphrase-file --unsigned --contain --contain-made --mode --without --cut --deny-address --forensic --forensic-port --untrack-wait --watch --irreversible --key-only --quarantine-tag --dry-run --yes --accept-risk --despite-denied --require-verified --case --journal --journal-to --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --break-glass --json --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words=""
		;;
	ready)
		case "$prev" in
		--check) return ;;
		--skip) return ;;
		--min-severity) return ;;
		--bucket) return ;;
		--forensic-account) return ;;
		--responder) return ;;
		--quarantine-tag) return ;;
		--page) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--ec2-region) return ;;
		--ec2-account) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		esac
		flags="--check --skip --min-severity --bucket --forensic-account --responder --quarantine-tag --allow-unknown --all --list --page --ec2-region --ec2-account --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --json --help -h"
		words=""
		;;
	gather)
		case "$prev" in
		--items) return ;;
		--snapshot-wait) return ;;
		--snapshot-lock) return ;;
		--snapshot-irreversible) return ;;
		--snapshot-copy-key) return ;;
		--snapshot-share) return ;;
		--trail-since) return ;;
		--trail-pages) return ;;
		--to) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--case) return ;;
		--operator) return ;;
		--sign-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--recipient) return ;;
		--recipients-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--ec2-region) return ;;
		--ec2-account) return ;;
		--ec2-limit) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		--s3-segment-size) return ;;
		--s3-kms-key) return ;;
		--s3-storage-class) return ;;
		--s3-tag) return ;;
		--s3-lock) return ;;
		--s3-retain) return ;;
		esac
		flags="--items --snapshot-wait --snapshot-again --snapshot-lock --snapshot-irreversible --snapshot-copy-key --snapshot-share --trail-since --trail-pages --to --output -o --case --operator --sign-key --unsigned --recipient --recipients-file --key-passphrase-file --json --quiet -q --ec2-region --ec2-account --ec2-limit --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --s3-segment-size --s3-kms-key --s3-storage-class --s3-tag --s3-lock --s3-retain --s3-legal-hold --help -h"
		words=""
		;;
	bucket)
		case "$prev" in
		--break-glass) return ;;
		--kms-key) return ;;
		--retain) return ;;
		--lock) return ;;
		--log-bucket) return ;;
		--abort-uploads-after) return ;;
		--tag) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--break-glass --kms-key --retain --lock --accept-compliance --log-bucket --no-access-log --abort-uploads-after --tag --adopt --accept-lock-out --dry-run --yes --template --s3-path-style --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --json --s3-bucket-owner --help -h"
		words="create check" files=1
		;;
	workstation)
		case "$prev" in
		--evidence) return ;;
		--examiner) return ;;
		--key-name) return ;;
		--snapshot) return ;;
		--tools) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--kms-key) return ;;
		--instance-type) return ;;
		--root-size) return ;;
		--owner) return ;;
		--aws-region) return ;;
		--aws-profile) return ;;
		--aws-endpoint) return ;;
		--aws-role) return ;;
		--aws-external-id) return ;;
		--aws-source-identity) return ;;
		--hourly-price) return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		esac
		flags="--evidence --examiner --key-name --snapshot --tools --kms-key --instance-type --root-size --owner --yes --template --s3-path-style --aws-region --aws-profile --aws-endpoint --aws-role --aws-external-id --aws-source-identity --no-instance-metadata --json --hourly-price --s3-region --s3-profile --s3-endpoint --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --help -h"
		words="create list destroy images" files=1
		;;
	modules)
		case "$prev" in
		--module) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--repository) return ;;
		--repository-key) return ;;
		--repository-manifest) return ;;
		--module-cache) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--repository-ca) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--config|-c) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--s3-region) return ;;
		--s3-profile) return ;;
		--s3-endpoint) return ;;
		--s3-role-arn) return ;;
		--s3-external-id) return ;;
		--s3-bucket-owner) return ;;
		--machine) return ;;
		--output|-o) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--headers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--lime) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--lime-sha256) return ;;
		--apt-sources) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--compiler) return ;;
		--kernel-key) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--kernel-cert) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--kernel-hash) return ;;
		--symvers) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--to) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--sign-with) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--key-passphrase-file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
		--withdraw) return ;;
		--packager) return ;;
		--unused) return ;;
		--max-size) return ;;
		esac
		flags="--module --repository --repository-key --repository-manifest --gpg-no-verify --offline --module-cache --repository-ca --insecure-repository-http --config -c --json --s3-region --s3-profile --s3-endpoint --s3-path-style --s3-insecure-http --s3-role-arn --s3-external-id --s3-bucket-owner --machine --all --output -o --insecure-accept-rollback --headers --lime --lime-sha256 --apt-sources --compiler --kernel-key --kernel-cert --kernel-hash --symvers --insecure-unchecked-symbols --to --sign-with --key-passphrase-file --replace --withdraw --packager --unused --max-size --dry-run --help -h"
		words="list fetch check build add publish prune" files=1
		;;
	version)
		case "$prev" in
		esac
		flags="--json --help -h"
		words=""
		;;
	completion)
		case "$prev" in
		esac
		flags="--help -h"
		words="bash zsh fish powershell"
		;;
	man)
		case "$prev" in
		esac
		flags="--help -h"
		words=""
		;;
	help)
		case "$prev" in
		esac
		flags="--help -h"
		words="capture plan verify report cat inspect convert mount serve-image live triage symbols upload contain status release lockdown hosts inventory key ready gather bucket workstation modules version completion man help exit-codes environment secrets json evidence"
		;;
	*) return ;;
	esac
	case "$cur" in
	-*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
	*)
		if [ -n "$files" ] && { [ -z "$words" ] || [ "$COMP_CWORD" -gt 2 ]; }; then
			compopt -o filenames 2>/dev/null
			COMPREPLY=($(compgen -f -- "$cur"))
		elif [ -n "$hosts" ]; then
			COMPREPLY=($(compgen -A hostname -- "$cur"))
		else
			COMPREPLY=($(compgen -W "$words" -- "$cur"))
		fi
		;;
	esac
}

complete -F _shotglass shotglass
