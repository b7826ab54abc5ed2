#compdef shotglass
# zsh completion for shotglass; made by: shotglass completion zsh

_shotglass() {
	local curcontext="$curcontext" state line
	local -a commands
	commands=(
		'capture:capture the memory of hosts, completely and provably'
		'plan:say how hosts would be captured; write nothing'
		'verify:check images against their manifests and signatures'
		'report:make an HTML page of a case'
		'cat:print the raw image to standard output'
		'inspect:tell what a LiME image holds, whoever made it'
		'convert:make an image of another form, for another tool'
		'mount:show an image as files, without unpacking it'
		'serve-image:serve an image as a network block device, without unpacking it'
		'live:list or unpack what was collected beside an image'
		'triage:run Volatility 3 on an image, and hold memory against the live tools'
		'symbols:write the symbol file that Volatility 3 needs for a kernel'
		'upload:bring to its bucket what a capture left in its --spill folder'
		'contain:isolate instances, lock credentials; with a journal to undo it'
		'status:say what is contained, and whether it holds'
		'release:put back what contain changed'
		'lockdown:ask the function in AWS to contain, by a message'
		'hosts:check hosts files'
		'inventory:list EC2 instances and what matters to a responder'
		'key:say whose an AWS access key is and what was done with it'
		'ready:say whether an AWS account is ready for an incident'
		'gather:take what AWS knows of EC2 instances, and snapshots of their volumes'
		'bucket:make an evidence bucket, or say what one lacks'
		'workstation:make, list and destroy analysis instances in AWS'
		'modules:list, fetch, check, build, add and publish LiME modules'
		'version:print the version, the commit and the digest of this program'
		'completion:print a completion script for a shell'
		'man:print the man page'
		'help:explain a command or a topic'
	)
	if (( CURRENT == 2 )); then
		_describe 'command' commands
		return
	fi
	local cmd="$words[2]"
	shift words
	(( CURRENT-- ))
	case "$cmd" in
	capture)
		_arguments -S \
			'--config[capture the hosts of this hosts file, too]:file:_files' \
			'-c[capture the hosts of this hosts file, too]:file:_files' \
			'--to[place for images and manifests]:file:_files' \
			'--output[folder for images and manifests]:file:_files' \
			'-o[folder for images and manifests]:file:_files' \
			'--name[NAME of the image file, for a single host (default HOST-TIME-mem.lime.zst)]:value: ' \
			'--case[ID of the case, for the manifest]:value: ' \
			'--operator[NAME of who captures, for the manifest]:value: ' \
			'--sign-key[sign the manifest with this SSH key\: a private key, or the .pub of a key that ssh-agent holds]:file:_files' \
			'--unsigned[leave the manifest unsigned\: nobody can prove later who wrote it]' \
			'--compress[store the image as zstd|s2|none\: small, cheap for the CPU, or as it is]:value:(zstd s2 none)' \
			'--compress-level[how hard zstd tries]:value:(fastest default better)' \
			'--resume[keep the complete images of earlier runs of this case that lie in the place, once each was read again and is signed by --sign-key or --signers, and take the other hosts]' \
			'--signers[with --resume\: FILE of allowed signers whose images are kept, too]:file:_files' \
			'*--recipient[encrypt images with age to this KEY\: age1..., or a public key of SSH (ssh-ed25519, ssh-rsa). Only the holder of its secret key can read them]:value: ' \
			'*--recipients-file[encrypt images to the keys in this FILE, one a line]:file:_files' \
			'--allow-low-space[start although the image might not fit the folder]' \
			'--user[login NAME, where HOST names none]:value: ' \
			'-l[login NAME, where HOST names none]:value: ' \
			'--port[SSH PORT, where HOST names none]:value: ' \
			'-p[SSH PORT, where HOST names none]:value: ' \
			'--jump[go through these hosts, as in ssh -J\: (USER@)HOST(\:PORT),..., or none; the key of each is taken from ssh_config and ssh-agent too]:value: ' \
			'-J[go through these hosts, as in ssh -J\: (USER@)HOST(\:PORT),..., or none; the key of each is taken from ssh_config and ssh-agent too]:value: ' \
			'--proxy-command[connect through this COMMAND, as in ssh_config]:value: ' \
			'--ssh-config[read this FILE in place of ~/.ssh/config and /etc/ssh/ssh_config, or none]:file:_files' \
			'*--known-hosts[read host keys from this FILE in place of the usual ones]:file:_files' \
			'*--host-key[accept this host key only\: (HOST=)SHA256\:...; HOST may be a jump host]:value: ' \
			'--insecure-ignore-host-key[accept any host key\: anybody in between can read and forge the image. The manifest records it]' \
			'--connect-timeout[give up an attempt to connect to a host, or to a jump host, after this TIME]:value: ' \
			'--dial-timeout[give up an attempt to connect to a host, or to a jump host, after this TIME]:value: ' \
			'--connect-attempts[connect up to N times, when nobody answers or the connection is cut before the login; what a login or a host key refuses is never tried twice]:value: ' \
			'*--key[private key FILE, tried before the keys of ssh-agent]:file:_files' \
			'*-i[private key FILE, tried before the keys of ssh-agent]:file:_files' \
			'--no-agent[do not use ssh-agent for logging in]' \
			'--password-file[read the login password from the first line of FILE; or set SHOTGLASS_PASSWORD]:file:_files' \
			'--ask-password[ask for the login password on the terminal]' \
			'--sudo-password-file[read sudo’s password from the first line of FILE; or set SHOTGLASS_SUDO_PASSWORD]:file:_files' \
			'--ask-sudo-password[ask for sudo’s password on the terminal]' \
			'--key-passphrase-file[read the passphrase of keys from the first line of FILE; or set SHOTGLASS_KEY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--method[read memory with a LiME module, through /proc/kcore with nothing loaded, with an AVML that you bring, or with the first of them that can be used]:value: ' \
			'--connections[read /proc/kcore, and swap, over N|auto connections at once; each is a login]:value: ' \
			'--compress-on-target[let the target compress what it sends, with what it has\: off|auto|zstd|lz4|gzip. For slow links\: it takes CPU time of the target and starts processes there]:value: ' \
			'--swap[read the host’s swap areas, too, after its memory\: each becomes a file beside the image, in the same manifest]' \
			'--collect[take this from the host beside its memory, for the analysis\: LIST of names with commas, or state (processes, sockets, ...), kernel (BTF, kallsyms, ...), all, none. Each item is optional, and none fails a capture; plan shows what each costs]:value: ' \
			'--symbols[make a symbol file for Volatility 3 beside each image, of what --collect took\: IMAGE.isf.json.xz, once the last host is done; with --recipient IMAGE.isf.json.xz.age, encrypted, once its host is. 2 seconds and 100 MB of memory for each, one after the other]' \
			'--accept-unreadable[call an image complete although /proc/kcore did not give, or AVML left out, up to N of its pages, which are zeros in it. The manifest lists them]:value: ' \
			'--avml[AVML’s program for Linux, version 0.20 or so\: FILE; auto takes it last of all]:file:_files' \
			'*--avml-sha256[it has this digest]:value: ' \
			'--avml-folder[put it into this folder of the host, DIR, in place of one in memory\: on a disk traces stay]:value: ' \
			'--freeze[stop user processes while memory is read, so that it does not change meanwhile. What logins, the network and the survival of the host depend on goes on; see docs/freeze.md, and plan, which lists all]' \
			'*--freeze-exempt[with --freeze\: do not stop this cgroup (/...), unit (x.service) or process]:value: ' \
			'--freeze-lease[with --freeze\: the host lets processes go on by itself when it hears nothing from here for this TIME, and is told to when the destination takes nothing for as long]:value: ' \
			'*--module[LiME module, or folder with modules]:file:_files' \
			'*--module-sha256[a module with this digest may be loaded, also one that is installed on the target]:value: ' \
			'--insecure-unverified-module[load a module that is neither pinned with --module-sha256 nor from a repository signed by a --repository-key, or run an AVML without --avml-sha256. The manifest records it]' \
			'--insecure-installed-module[load a LiME module that is installed on the target although its digest is not pinned with --module-sha256\: the target may have forged it. /proc/kcore comes first, unless --method lime. The manifest records it]' \
			'--stall-timeout[give up a stream in which no byte came for this TIME]:value: ' \
			'--min-rate[give up a stream that brings less than this RATE over twice the stall timeout, or off]:value: ' \
			'--cleanup-timeout[give up cleaning a host after this TIME]:value: ' \
			'--parallel[capture at most N hosts at once]:value: ' \
			'--memory-budget[captures under way take at most this SIZE of memory together, such as 2GiB; others wait]:value: ' \
			'--require-all[capture all hosts or none\: if the plan refuses one, end with 1 before any is touched]' \
			'--limit-rate[read the memory of each host at most at this RATE, such as 50MB/s or 400Mbit/s; MB are 10^6 bytes, MiB 2^20, before compression]:value: ' \
			'--limit-total-rate[and of all hosts together at this RATE]:value: ' \
			'--compress-threads[compress on at most N cores, all hosts together]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--quiet[print errors only, and the result]' \
			'-q[print errors only, and the result]' \
			'--progress[show progress as auto|bar|lines|none]:value:(auto bar lines none)' \
			'--log-dir[write a detailed log of the run, JSON Lines, into this folder]:file:_files' \
			'--log-prefix[begin the log’s name with TEXT-]:value: ' \
			'*--notify[tell how the run goes, at its start, for each host and at its end\: a webhook or an SNS topic, https\://...|arn\:aws\:sns\:...]:value: ' \
			'--notify-secret-file[sign what goes to webhooks with the secret in the first line of FILE; or set SHOTGLASS_NOTIFY_SECRET]:file:_files' \
			'--insecure-notify-http[take a webhook without TLS on another machine\: anybody in between reads where the evidence is]' \
			'*--repository[take modules from this repository, after those of --module]:value: ' \
			'*--repository-key[trust repositories that this OpenPGP key signed]:value: ' \
			'--repository-manifest[use the list NAME of repositories]:value: ' \
			'--gpg-no-verify[leave signatures of repositories unchecked\: their modules are unverified]' \
			'--offline[take what repositories have from the cache only]' \
			'--module-cache[keep what repositories have in this DIR, or none]:file:_files' \
			'--repository-ca[accept repositories behind https by the CAs of this PEM FILE only, not by the system’s]:file:_files' \
			'--insecure-repository-http[take a repository without TLS on another machine\: anybody in between sees which kernels are asked for]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--spill[when the bucket fails in the middle of a capture, go on in this folder\: DIR; shotglass upload finishes it]:file:_files' \
			'--s3-segment-size[store an image that is larger as several objects of this SIZE]:value: ' \
			'--s3-kms-key[encrypt with SSE-KMS under this KEY\: ARN, id or alias]:value: ' \
			'--s3-storage-class[storage CLASS of images, such as STANDARD_IA]:value: ' \
			'*--s3-tag[tag every object]:value: ' \
			'--s3-lock[lock every object\: governance|compliance; needs --s3-retain]:value: ' \
			'--s3-retain[lock for this TIME, such as 90d or 720h, or until this date, such as 2031-01-31]:value: ' \
			'--s3-legal-hold[put a legal hold on every object]' \
			'--contain[contain what the hosts file names under containment, and the EC2 instances that are named beside it\: complete|always|never, after a complete image, after any, or only plan it]:value: ' \
			'--lock-first[lock credentials before the first byte of memory; if the capture fails they stay locked]' \
			'--protect-first[protect instances from termination and from Auto Scaling before the first byte]' \
			'--watch[after containment see for this TIME whether someone undoes it, and do it again]:value: ' \
			'--require-verified[exit with 5 for an instance whose flows nobody could look at, too]' \
			'--despite-denied[begin although permissions for containment seem to be missing]' \
			'--journal[folder of the journals]:file:_files' \
			'--journal-to[keep the journals here too]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'*--break-glass[never contain this TARGET, beside who calls and the machine that this runs on]:value: ' \
			'*--ec2[capture the EC2 instances that this SELECTOR names\: i-..., an ARN, an address, tag\:KEY=VALUE, asg\:NAME and more, with commas between what must all hold; see docs/ec2.md]:value: ' \
			'*--ec2-region[look for instances in this REGION, or in all that the account has enabled\: all]:value: ' \
			'*--ec2-account[look in this account, through the role of --aws-role]:value: ' \
			'--ec2-address[reach instances by this address]:value: ' \
			'--ec2-connect[log in to instances by a key that is made for this run and pushed by EC2 Instance Connect, directly or through its endpoint or Session Manager]:value: ' \
			'--ec2-host-keys[pin host keys of instances to those that they wrote on their consoles]:value: ' \
			'--ec2-tunnel-rate[expect a tunnel through an endpoint of EC2 Instance Connect to carry this much, to know whether memory fits into its hour]:value: ' \
			'*--ec2-user[log in to instances by this name, in place of the usual one of their AMI\: NAME, or AMI=NAME for those whose AMI has this id or name, with * for any characters]:value: ' \
			'--ec2-limit[refuse to capture more than N instances that selectors name]:value: ' \
			'--gather[take this of each EC2 instance from AWS, before anything is changed there\: LIST of names with commas, or all, which is everything that is read; snapshots of the volumes, which are made, by name\: all,snapshots; or none. See docs/gather.md]:value: ' \
			'--snapshot-wait[wait for snapshots to be stored, in the end, for this TIME, or not at all\: 0]:value: ' \
			'--snapshot-again[take snapshots although the case has some of all volumes of the instance]' \
			'--snapshot-lock[lock snapshots against deletion for this many DAYS, in governance mode, which who has the permission can end]:value: ' \
			'*--snapshot-irreversible[with --snapshot-lock\: lock them so that nobody can end it, AWS included\: snapshot-lock-compliance, in words]:value: ' \
			'--snapshot-copy-key[copy snapshots once they are stored, encrypted with this KMS KEY\: what is encrypted with EBS’s own key cannot be shared]:value: ' \
			'*--snapshot-share[let this account make volumes of the snapshots, or of their copies]:value: ' \
			'--trail-since[ask CloudTrail for events of the last TIME]:value: ' \
			'--trail-pages[take at most N pages of 50 events for each question to CloudTrail, which answers two a second]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:_hosts'
		;;
	plan)
		_arguments -S \
			'--config[capture the hosts of this hosts file, too]:file:_files' \
			'-c[capture the hosts of this hosts file, too]:file:_files' \
			'--to[place for images and manifests]:file:_files' \
			'--output[folder for images and manifests]:file:_files' \
			'-o[folder for images and manifests]:file:_files' \
			'--name[NAME of the image file, for a single host (default HOST-TIME-mem.lime.zst)]:value: ' \
			'--case[ID of the case, for the manifest]:value: ' \
			'--operator[NAME of who captures, for the manifest]:value: ' \
			'--sign-key[sign the manifest with this SSH key\: a private key, or the .pub of a key that ssh-agent holds]:file:_files' \
			'--unsigned[leave the manifest unsigned\: nobody can prove later who wrote it]' \
			'--compress[store the image as zstd|s2|none\: small, cheap for the CPU, or as it is]:value:(zstd s2 none)' \
			'--compress-level[how hard zstd tries]:value:(fastest default better)' \
			'--resume[keep the complete images of earlier runs of this case that lie in the place, once each was read again and is signed by --sign-key or --signers, and take the other hosts]' \
			'--signers[with --resume\: FILE of allowed signers whose images are kept, too]:file:_files' \
			'*--recipient[encrypt images with age to this KEY\: age1..., or a public key of SSH (ssh-ed25519, ssh-rsa). Only the holder of its secret key can read them]:value: ' \
			'*--recipients-file[encrypt images to the keys in this FILE, one a line]:file:_files' \
			'--allow-low-space[start although the image might not fit the folder]' \
			'--user[login NAME, where HOST names none]:value: ' \
			'-l[login NAME, where HOST names none]:value: ' \
			'--port[SSH PORT, where HOST names none]:value: ' \
			'-p[SSH PORT, where HOST names none]:value: ' \
			'--jump[go through these hosts, as in ssh -J\: (USER@)HOST(\:PORT),..., or none; the key of each is taken from ssh_config and ssh-agent too]:value: ' \
			'-J[go through these hosts, as in ssh -J\: (USER@)HOST(\:PORT),..., or none; the key of each is taken from ssh_config and ssh-agent too]:value: ' \
			'--proxy-command[connect through this COMMAND, as in ssh_config]:value: ' \
			'--ssh-config[read this FILE in place of ~/.ssh/config and /etc/ssh/ssh_config, or none]:file:_files' \
			'*--known-hosts[read host keys from this FILE in place of the usual ones]:file:_files' \
			'*--host-key[accept this host key only\: (HOST=)SHA256\:...; HOST may be a jump host]:value: ' \
			'--insecure-ignore-host-key[accept any host key\: anybody in between can read and forge the image. The manifest records it]' \
			'--connect-timeout[give up an attempt to connect to a host, or to a jump host, after this TIME]:value: ' \
			'--dial-timeout[give up an attempt to connect to a host, or to a jump host, after this TIME]:value: ' \
			'--connect-attempts[connect up to N times, when nobody answers or the connection is cut before the login; what a login or a host key refuses is never tried twice]:value: ' \
			'*--key[private key FILE, tried before the keys of ssh-agent]:file:_files' \
			'*-i[private key FILE, tried before the keys of ssh-agent]:file:_files' \
			'--no-agent[do not use ssh-agent for logging in]' \
			'--password-file[read the login password from the first line of FILE; or set SHOTGLASS_PASSWORD]:file:_files' \
			'--ask-password[ask for the login password on the terminal]' \
			'--sudo-password-file[read sudo’s password from the first line of FILE; or set SHOTGLASS_SUDO_PASSWORD]:file:_files' \
			'--ask-sudo-password[ask for sudo’s password on the terminal]' \
			'--key-passphrase-file[read the passphrase of keys from the first line of FILE; or set SHOTGLASS_KEY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--method[read memory with a LiME module, through /proc/kcore with nothing loaded, with an AVML that you bring, or with the first of them that can be used]:value: ' \
			'--connections[read /proc/kcore, and swap, over N|auto connections at once; each is a login]:value: ' \
			'--compress-on-target[let the target compress what it sends, with what it has\: off|auto|zstd|lz4|gzip. For slow links\: it takes CPU time of the target and starts processes there]:value: ' \
			'--swap[read the host’s swap areas, too, after its memory\: each becomes a file beside the image, in the same manifest]' \
			'--collect[take this from the host beside its memory, for the analysis\: LIST of names with commas, or state (processes, sockets, ...), kernel (BTF, kallsyms, ...), all, none. Each item is optional, and none fails a capture; plan shows what each costs]:value: ' \
			'--symbols[make a symbol file for Volatility 3 beside each image, of what --collect took\: IMAGE.isf.json.xz, once the last host is done; with --recipient IMAGE.isf.json.xz.age, encrypted, once its host is. 2 seconds and 100 MB of memory for each, one after the other]' \
			'--accept-unreadable[call an image complete although /proc/kcore did not give, or AVML left out, up to N of its pages, which are zeros in it. The manifest lists them]:value: ' \
			'--avml[AVML’s program for Linux, version 0.20 or so\: FILE; auto takes it last of all]:file:_files' \
			'*--avml-sha256[it has this digest]:value: ' \
			'--avml-folder[put it into this folder of the host, DIR, in place of one in memory\: on a disk traces stay]:value: ' \
			'--freeze[stop user processes while memory is read, so that it does not change meanwhile. What logins, the network and the survival of the host depend on goes on; see docs/freeze.md, and plan, which lists all]' \
			'*--freeze-exempt[with --freeze\: do not stop this cgroup (/...), unit (x.service) or process]:value: ' \
			'--freeze-lease[with --freeze\: the host lets processes go on by itself when it hears nothing from here for this TIME, and is told to when the destination takes nothing for as long]:value: ' \
			'*--module[LiME module, or folder with modules]:file:_files' \
			'*--module-sha256[a module with this digest may be loaded, also one that is installed on the target]:value: ' \
			'--insecure-unverified-module[load a module that is neither pinned with --module-sha256 nor from a repository signed by a --repository-key, or run an AVML without --avml-sha256. The manifest records it]' \
			'--insecure-installed-module[load a LiME module that is installed on the target although its digest is not pinned with --module-sha256\: the target may have forged it. /proc/kcore comes first, unless --method lime. The manifest records it]' \
			'--stall-timeout[give up a stream in which no byte came for this TIME]:value: ' \
			'--min-rate[give up a stream that brings less than this RATE over twice the stall timeout, or off]:value: ' \
			'--cleanup-timeout[give up cleaning a host after this TIME]:value: ' \
			'--parallel[capture at most N hosts at once]:value: ' \
			'--memory-budget[captures under way take at most this SIZE of memory together, such as 2GiB; others wait]:value: ' \
			'--require-all[capture all hosts or none\: if the plan refuses one, end with 1 before any is touched]' \
			'--limit-rate[read the memory of each host at most at this RATE, such as 50MB/s or 400Mbit/s; MB are 10^6 bytes, MiB 2^20, before compression]:value: ' \
			'--limit-total-rate[and of all hosts together at this RATE]:value: ' \
			'--compress-threads[compress on at most N cores, all hosts together]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--quiet[print errors only, and the result]' \
			'-q[print errors only, and the result]' \
			'--progress[show progress as auto|bar|lines|none]:value:(auto bar lines none)' \
			'--log-dir[write a detailed log of the run, JSON Lines, into this folder]:file:_files' \
			'--log-prefix[begin the log’s name with TEXT-]:value: ' \
			'*--notify[tell how the run goes, at its start, for each host and at its end\: a webhook or an SNS topic, https\://...|arn\:aws\:sns\:...]:value: ' \
			'--notify-secret-file[sign what goes to webhooks with the secret in the first line of FILE; or set SHOTGLASS_NOTIFY_SECRET]:file:_files' \
			'--insecure-notify-http[take a webhook without TLS on another machine\: anybody in between reads where the evidence is]' \
			'*--repository[take modules from this repository, after those of --module]:value: ' \
			'*--repository-key[trust repositories that this OpenPGP key signed]:value: ' \
			'--repository-manifest[use the list NAME of repositories]:value: ' \
			'--gpg-no-verify[leave signatures of repositories unchecked\: their modules are unverified]' \
			'--offline[take what repositories have from the cache only]' \
			'--module-cache[keep what repositories have in this DIR, or none]:file:_files' \
			'--repository-ca[accept repositories behind https by the CAs of this PEM FILE only, not by the system’s]:file:_files' \
			'--insecure-repository-http[take a repository without TLS on another machine\: anybody in between sees which kernels are asked for]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--spill[when the bucket fails in the middle of a capture, go on in this folder\: DIR; shotglass upload finishes it]:file:_files' \
			'--s3-segment-size[store an image that is larger as several objects of this SIZE]:value: ' \
			'--s3-kms-key[encrypt with SSE-KMS under this KEY\: ARN, id or alias]:value: ' \
			'--s3-storage-class[storage CLASS of images, such as STANDARD_IA]:value: ' \
			'*--s3-tag[tag every object]:value: ' \
			'--s3-lock[lock every object\: governance|compliance; needs --s3-retain]:value: ' \
			'--s3-retain[lock for this TIME, such as 90d or 720h, or until this date, such as 2031-01-31]:value: ' \
			'--s3-legal-hold[put a legal hold on every object]' \
			'--contain[contain what the hosts file names under containment, and the EC2 instances that are named beside it\: complete|always|never, after a complete image, after any, or only plan it]:value: ' \
			'--lock-first[lock credentials before the first byte of memory; if the capture fails they stay locked]' \
			'--protect-first[protect instances from termination and from Auto Scaling before the first byte]' \
			'--watch[after containment see for this TIME whether someone undoes it, and do it again]:value: ' \
			'--require-verified[exit with 5 for an instance whose flows nobody could look at, too]' \
			'--despite-denied[begin although permissions for containment seem to be missing]' \
			'--journal[folder of the journals]:file:_files' \
			'--journal-to[keep the journals here too]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'*--break-glass[never contain this TARGET, beside who calls and the machine that this runs on]:value: ' \
			'*--ec2[capture the EC2 instances that this SELECTOR names\: i-..., an ARN, an address, tag\:KEY=VALUE, asg\:NAME and more, with commas between what must all hold; see docs/ec2.md]:value: ' \
			'*--ec2-region[look for instances in this REGION, or in all that the account has enabled\: all]:value: ' \
			'*--ec2-account[look in this account, through the role of --aws-role]:value: ' \
			'--ec2-address[reach instances by this address]:value: ' \
			'--ec2-connect[log in to instances by a key that is made for this run and pushed by EC2 Instance Connect, directly or through its endpoint or Session Manager]:value: ' \
			'--ec2-host-keys[pin host keys of instances to those that they wrote on their consoles]:value: ' \
			'--ec2-tunnel-rate[expect a tunnel through an endpoint of EC2 Instance Connect to carry this much, to know whether memory fits into its hour]:value: ' \
			'*--ec2-user[log in to instances by this name, in place of the usual one of their AMI\: NAME, or AMI=NAME for those whose AMI has this id or name, with * for any characters]:value: ' \
			'--ec2-limit[refuse to capture more than N instances that selectors name]:value: ' \
			'--gather[take this of each EC2 instance from AWS, before anything is changed there\: LIST of names with commas, or all, which is everything that is read; snapshots of the volumes, which are made, by name\: all,snapshots; or none. See docs/gather.md]:value: ' \
			'--snapshot-wait[wait for snapshots to be stored, in the end, for this TIME, or not at all\: 0]:value: ' \
			'--snapshot-again[take snapshots although the case has some of all volumes of the instance]' \
			'--snapshot-lock[lock snapshots against deletion for this many DAYS, in governance mode, which who has the permission can end]:value: ' \
			'*--snapshot-irreversible[with --snapshot-lock\: lock them so that nobody can end it, AWS included\: snapshot-lock-compliance, in words]:value: ' \
			'--snapshot-copy-key[copy snapshots once they are stored, encrypted with this KMS KEY\: what is encrypted with EBS’s own key cannot be shared]:value: ' \
			'*--snapshot-share[let this account make volumes of the snapshots, or of their copies]:value: ' \
			'--trail-since[ask CloudTrail for events of the last TIME]:value: ' \
			'--trail-pages[take at most N pages of 50 events for each question to CloudTrail, which answers two a second]:value: ' \
			'--page[write an HTML page of what keeps which hosts from being captured to this new FILE]:file:_files' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:_hosts'
		;;
	verify)
		_arguments -S \
			'--signers[FILE of allowed signers]:file:_files' \
			'--at[the signer must be trusted at this TIME, as 2006-01-02T15\:04\:05Z]:value: ' \
			'--workers[check N frames at once]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:_files'
		;;
	report)
		_arguments -S \
			'--output[write the page to this new FILE]:file:_files' \
			'-o[write the page to this new FILE]:file:_files' \
			'--signers[FILE of allowed signers]:file:_files' \
			'--at[signers must be trusted at this TIME, as 2006-01-02T15\:04\:05Z]:value: ' \
			'--verify[read every image again in full]' \
			'--workers[check N frames at once]:value: ' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	cat)
		_arguments -S \
			'--force[print to a terminal too]' \
			'-f[print to a terminal too]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:_files'
		;;
	inspect)
		_arguments -S \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:_files'
		;;
	convert)
		_arguments -S \
			'--form[make this FORM\: lime, zstd, s2, gzip, avml1, avml2, raw or elf]:value: ' \
			'--output[put it into this folder]:file:_files' \
			'-o[put it into this folder]:file:_files' \
			'--to[put it into a bucket]:value: ' \
			'--name[NAME of the new image]:value: ' \
			'--compress-level[of zstd]:value:(fastest default better)' \
			'--max-padding[refuse a raw image with more zeros between its ranges than this SIZE]:value: ' \
			'--vmcoreinfo[for elf\: take VMCOREINFO from this FILE, or none]:file:_files' \
			'--from-raw[FILE is a raw image, which nothing in it shows]' \
			'--iomem[FILE is to have the System RAM of this /proc/iomem\: what AVML left out of it is zeros]:file:_files' \
			'--no-manifest[do not look at the manifest beside FILE\: one that is damaged, or another’s]' \
			'--signers[only if the manifest of FILE is signed by one of this SIGNERS file of allowed signers]:file:_files' \
			'--case[ID of the case, for the record]:value: ' \
			'--operator[NAME of who converts, for the record]:value: ' \
			'--sign-key[sign the record with this SSH key\: a private key, or the .pub of a key that ssh-agent holds]:file:_files' \
			'--key-passphrase-file[read the passphrase of the key from the first line of FILE; or set SHOTGLASS_KEY_PASSPHRASE]:file:_files' \
			'--unsigned[leave the record unsigned]' \
			'*--recipient[encrypt the new image with age to this KEY]:value: ' \
			'*--recipients-file[encrypt it to the keys in this FILE, one a line]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--s3-segment-size[store an image that is larger as several objects of this SIZE]:value: ' \
			'--s3-kms-key[encrypt with SSE-KMS under this KEY\: ARN, id or alias]:value: ' \
			'--s3-storage-class[storage CLASS of images, such as STANDARD_IA]:value: ' \
			'*--s3-tag[tag every object]:value: ' \
			'--s3-lock[lock every object\: governance|compliance; needs --s3-retain]:value: ' \
			'--s3-retain[lock for this TIME, such as 90d or 720h, or until this date, such as 2031-01-31]:value: ' \
			'--s3-legal-hold[put a legal hold on every object]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:_files'
		;;
	mount)
		_arguments -S \
			'--allow-other[let other users of this machine read it too]' \
			'--signers[FILE of allowed signers\: only an image that one of them signed]:file:_files' \
			'--unchecked[look at no manifest and no digest\: for an image that does not agree with them]' \
			'--cache[keep SIZE of what was decoded in memory]:value: ' \
			'--read-timeout[give up a read after this TIME; the next tries again]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	serve-image)
		_arguments -S \
			'--listen[ADDRESS to listen on\: host\:port, port 0 for any, or unix\:PATH]:value: ' \
			'--insecure-listen[listen on an address that other machines reach\: anybody there reads the memory]' \
			'--signers[FILE of allowed signers\: only an image that one of them signed]:file:_files' \
			'--unchecked[look at no manifest and no digest\: for an image that does not agree with them]' \
			'--cache[keep SIZE of what was decoded in memory]:value: ' \
			'--read-timeout[give up a read after this TIME; the next tries again]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	live)
		_arguments -S \
			'--output[unpack into this folder, which must not be there yet]:file:_files' \
			'-o[unpack into this folder, which must not be there yet]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'--signers[FILE of allowed signers\: only what one of them signed]:file:_files' \
			'--unchecked[look at no manifest\: for what does not agree with it]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	triage)
		_arguments -S \
			'--signers[FILE of allowed signers\: the image must be signed by one of them]:file:_files' \
			'--unverified[do not verify the image before; the result says so]' \
			'--volatility[Volatility 3’s PROGRAM (default\: vol in PATH)]:file:_files' \
			'--symbols[DIR with symbol files, or one such file, which may be encrypted with age, in place of what was collected]:file:_files' \
			'-s[DIR with symbol files, or one such file, which may be encrypted with age, in place of what was collected]:file:_files' \
			'--unpack[unpack the image for the time of the run, in place of reading it where it lies\: takes its whole size on disk]' \
			'*--plugin[run this plugin, NAME, in place of the usual ones]:value: ' \
			'--parallel[run N plugins at once; each takes up to 2 GB of memory]:value: ' \
			'--timeout[give up a plugin after this TIME]:value: ' \
			'--output[write everything into this new folder in place of beside the image]:file:_files' \
			'-o[write everything into this new folder in place of beside the image]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	symbols)
		_arguments -S \
			'--from[DIR with BTF, kallsyms, banner and VMCOREINFO of the kernel]:file:_files' \
			'--vmlinux[FILE of the kernel with its debug information, or the .deb, .ddeb or .rpm that holds it]:file:_files' \
			'--fetch[get the package with the kernel’s debug information from this machine’s apt or dnf]' \
			'--release[of --fetch and --vmlinux\: the kernel is this RELEASE, as uname -r says there]:value: ' \
			'--machine[of --fetch\: for this MACHINE, x86_64 or aarch64]:value: ' \
			'--apt-sources[of --fetch\: take packages from the sources in this FILE, in place of the machine’s]:file:_files' \
			'--system-map[System.map of the kernel]:file:_files' \
			'--banner[FILE with the banner, as /proc/version has it]:file:_files' \
			'--output[write to this new FILE]:file:_files' \
			'-o[write to this new FILE]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'*--identity[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'*-i[decrypt images with this FILE\: secret keys of age, also encrypted with a passphrase, or an SSH private key]:file:_files' \
			'--identity-passphrase-file[read the passphrase of identities from the first line of FILE; or set SHOTGLASS_IDENTITY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	upload)
		_arguments -S \
			'--signers[FILE of allowed signers\: only what one of them has vouched for]:file:_files' \
			'--sign-key[sign the manifest of an image whose capture was killed with this SSH key\: a private key, or the .pub of a key that ssh-agent holds]:file:_files' \
			'--key-passphrase-file[read the passphrase of that key from the first line of FILE; or set SHOTGLASS_KEY_PASSPHRASE]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	contain)
		_arguments -S \
			'--mode[for roles\: revoke|deny, sessions of before now, or all; for functions\: strict, the sessions of their roles too]:value: ' \
			'*--without[leave out this STAGE\: protect, detach, lock, prepare, timeouts, untrack, isolate, cut]:value: ' \
			'*--cut[cut hard, too]:value: ' \
			'*--deny-address[deny this ADDRESS or prefix in the network ACL of the subnet]:value: ' \
			'--forensic[let this SOURCE in to an isolated instance\: a prefix such as 192.0.2.7/32, or a security group]:value: ' \
			'--forensic-port[on this PORT]:value: ' \
			'--untrack-wait[let this TIME pass until the groups isolate, so that flows become untracked]:value: ' \
			'--watch[see for this TIME whether someone undoes it, and do it again]:value: ' \
			'*--irreversible[also do this CHANGE, which cannot be undone\: durable-executions]:value: ' \
			'--key-only[of an access key\: leave its user as it is]' \
			'--quarantine-tag[tag users and roles with KEY=VALUE, which a service control policy of your organisation denies everything to]:value: ' \
			'--dry-run[say what would be done, and whether it is allowed; change nothing]' \
			'--yes[do not ask]' \
			'*--accept-risk[do not ask about this RISK]:value: ' \
			'--resume[go on with what was interrupted, with the options of its journal, which may be named in place of the target]' \
			'--despite-denied[begin although permissions seem to be missing]' \
			'--require-verified[exit with 5 for an instance whose flows nobody looked at, too]' \
			'--case[ID of the case; a target has one journal in a case]:value: ' \
			'--journal[folder of the journals]:file:_files' \
			'--journal-to[keep the journals here too]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'*--break-glass[never contain this TARGET, beside who calls and the machine that this runs on]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	status)
		_arguments -S \
			'--case[ID of the case; a target has one journal in a case]:value: ' \
			'--journal[folder of the journals]:file:_files' \
			'--journal-to[keep the journals here too]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'*--break-glass[never contain this TARGET, beside who calls and the machine that this runs on]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	release)
		_arguments -S \
			'--reactivate-keys[also make keys active again that contain made inactive\: AWS strongly advises against it for keys that leaked]' \
			'*--also[also put back items of this KIND, such as those that the plan said would stay]:value: ' \
			'--force[also overwrite what someone else changed meanwhile]' \
			'*--stage[put back this STAGE alone]:value: ' \
			'--case[ID of the case; a target has one journal in a case]:value: ' \
			'--journal[folder of the journals]:file:_files' \
			'--journal-to[keep the journals here too]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'*--break-glass[never contain this TARGET, beside who calls and the machine that this runs on]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	lockdown)
		_arguments -S \
			'--topic[SNS topic that the function listens on]:value: ' \
			'--external-id-file[the external id is the first line of FILE; or set SHOTGLASS_LOCKDOWN_EXTERNAL_ID]:file:_files' \
			'--ask-external-id[ask for it on the terminal]' \
			'--action[what to ask for]:value: ' \
			'--case[ID of the case; a target has one journal in a case]:value: ' \
			'--dry-run[have the function say what it would do, and change nothing]' \
			'--yes[do not ask]' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	hosts)
		_arguments -S \
			'--json[print JSON Lines to standard output]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'1:command:(check)' '*:argument:_files'
		;;
	inventory)
		_arguments -S \
			'--related[list the instances that share an AMI, an instance profile, a security group or a key pair with the one that this SELECTOR names]:value: ' \
			'--flows[with --related\: and those that talked to it since this TIME, by the flow logs of its VPC\: 2006-01-02T15\:04\:05Z, or so long ago, as 24h or 7d]:value: ' \
			'--flows-max[with --flows\: read at most this SIZE of them, as text (default\: 1GiB); what they are is told first]:value: ' \
			'--wide[say all about each instance, over several lines]' \
			'*--ec2-region[look for instances in this REGION, or in all that the account has enabled\: all]:value: ' \
			'*--ec2-account[look in this account, through the role of --aws-role]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'--json[print JSON Lines to standard output]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	key)
		_arguments -S \
			'--since[look at events since this TIME\: 2006-01-02T15\:04\:05Z, or so long ago, as 36h or 14d]:value: ' \
			'--until[and until this TIME]:value: ' \
			'*--trail-region[ask the event history of this REGION alone]:value: ' \
			'--trail[read CloudTrail’s log files in this folder, too]:file:_files' \
			'*--account[follow into this ACCOUNT, and contain there, too, by --aws-role]:value: ' \
			'--depth[follow identities that were made or taken for N steps]:value: ' \
			'--identities[follow N identities at most]:value: ' \
			'--pages[read N pages of 50 events at most for each identity and region]:value: ' \
			'--timeline[print every event, in order of time, in place of the worst]' \
			'--output[keep a record of it, and the events, in this folder]:file:_files' \
			'-o[keep a record of it, and the events, in this folder]:file:_files' \
			'--sign-key[sign the record with this SSH key\: a private key, or the .pub of a key that ssh-agent holds]:file:_files' \
			'--key-passphrase-file[read the passphrase of the key from the first line of FILE; or set SHOTGLASS_KEY_PASSPHRASE]:file:_files' \
			'--unsigned[leave the record unsigned]' \
			'--contain[contain the key’s owner afterwards\: everything denied, all credentials off; the role, of a temporary key]' \
			'--contain-made[and all that it made or took]' \
			'--mode[for roles\: revoke|deny, sessions of before now, or all; for functions\: strict, the sessions of their roles too]:value: ' \
			'*--without[leave out this STAGE\: protect, detach, lock, prepare, timeouts, untrack, isolate, cut]:value: ' \
			'*--cut[cut hard, too]:value: ' \
			'*--deny-address[deny this ADDRESS or prefix in the network ACL of the subnet]:value: ' \
			'--forensic[let this SOURCE in to an isolated instance\: a prefix such as 192.0.2.7/32, or a security group]:value: ' \
			'--forensic-port[on this PORT]:value: ' \
			'--untrack-wait[let this TIME pass until the groups isolate, so that flows become untracked]:value: ' \
			'--watch[see for this TIME whether someone undoes it, and do it again]:value: ' \
			'*--irreversible[also do this CHANGE, which cannot be undone\: durable-executions]:value: ' \
			'--key-only[of an access key\: leave its user as it is]' \
			'--quarantine-tag[tag users and roles with KEY=VALUE, which a service control policy of your organisation denies everything to]:value: ' \
			'--dry-run[say what would be done, and whether it is allowed; change nothing]' \
			'--yes[do not ask]' \
			'*--accept-risk[do not ask about this RISK]:value: ' \
			'--despite-denied[begin although permissions seem to be missing]' \
			'--require-verified[exit with 5 for an instance whose flows nobody looked at, too]' \
			'--case[ID of the case; a target has one journal in a case]:value: ' \
			'--journal[folder of the journals]:file:_files' \
			'--journal-to[keep the journals here too]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'*--break-glass[never contain this TARGET, beside who calls and the machine that this runs on]:value: ' \
			'--json[print JSON Lines to standard output]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	ready)
		_arguments -S \
			'*--check[make this check alone]:value: ' \
			'*--skip[leave out this check]:value: ' \
			'--min-severity[make only checks that are as severe]:value: ' \
			'--bucket[see whether this NAME is a good evidence bucket, from the first account]:value: ' \
			'--forensic-account[see whether this account, that evidence goes to, may use the keys of volumes, and has the evidence bucket\: its NUMBER]:value: ' \
			'--responder[see whether this ROLE can be assumed, may do what shotglass needs, and is protected\: a name, in each account, or an ARN]:value: ' \
			'--quarantine-tag[see whether a service control policy acts on this tag, KEY=VALUE]:value: ' \
			'--allow-unknown[exit with 0 also if something could not be read]' \
			'--all[list what passes and what does not apply, too]' \
			'--list[list the checks, and call nobody]' \
			'--page[write an HTML page to this new FILE]:file:_files' \
			'*--ec2-region[look for instances in this REGION, or in all that the account has enabled\: all]:value: ' \
			'*--ec2-account[look in this account, through the role of --aws-role]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'--json[print JSON Lines to standard output]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	gather)
		_arguments -S \
			'--items[take this of each EC2 instance from AWS, before anything is changed there\: LIST of names with commas, or all, which is everything that is read; snapshots of the volumes, which are made, by name\: all,snapshots; or none. See docs/gather.md]:value: ' \
			'--snapshot-wait[wait for snapshots to be stored, in the end, for this TIME, or not at all\: 0]:value: ' \
			'--snapshot-again[take snapshots although the case has some of all volumes of the instance]' \
			'--snapshot-lock[lock snapshots against deletion for this many DAYS, in governance mode, which who has the permission can end]:value: ' \
			'*--snapshot-irreversible[with --snapshot-lock\: lock them so that nobody can end it, AWS included\: snapshot-lock-compliance, in words]:value: ' \
			'--snapshot-copy-key[copy snapshots once they are stored, encrypted with this KMS KEY\: what is encrypted with EBS’s own key cannot be shared]:value: ' \
			'*--snapshot-share[let this account make volumes of the snapshots, or of their copies]:value: ' \
			'--trail-since[ask CloudTrail for events of the last TIME]:value: ' \
			'--trail-pages[take at most N pages of 50 events for each question to CloudTrail, which answers two a second]:value: ' \
			'--to[place for images and manifests]:file:_files' \
			'--output[folder for images and manifests]:file:_files' \
			'-o[folder for images and manifests]:file:_files' \
			'--case[ID of the case, for the manifest]:value: ' \
			'--operator[NAME of who captures, for the manifest]:value: ' \
			'--sign-key[sign the manifest with this SSH key\: a private key, or the .pub of a key that ssh-agent holds]:file:_files' \
			'--unsigned[leave the manifest unsigned\: nobody can prove later who wrote it]' \
			'*--recipient[encrypt images with age to this KEY\: age1..., or a public key of SSH (ssh-ed25519, ssh-rsa). Only the holder of its secret key can read them]:value: ' \
			'*--recipients-file[encrypt images to the keys in this FILE, one a line]:file:_files' \
			'--key-passphrase-file[read the passphrase of keys from the first line of FILE; or set SHOTGLASS_KEY_PASSPHRASE; else it is asked for on the terminal]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'--quiet[print errors only, and the result]' \
			'-q[print errors only, and the result]' \
			'*--ec2-region[look for instances in this REGION, or in all that the account has enabled\: all]:value: ' \
			'*--ec2-account[look in this account, through the role of --aws-role]:value: ' \
			'--ec2-limit[refuse to capture more than N instances that selectors name]:value: ' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--s3-segment-size[store an image that is larger as several objects of this SIZE]:value: ' \
			'--s3-kms-key[encrypt with SSE-KMS under this KEY\: ARN, id or alias]:value: ' \
			'--s3-storage-class[storage CLASS of images, such as STANDARD_IA]:value: ' \
			'*--s3-tag[tag every object]:value: ' \
			'--s3-lock[lock every object\: governance|compliance; needs --s3-retain]:value: ' \
			'--s3-retain[lock for this TIME, such as 90d or 720h, or until this date, such as 2031-01-31]:value: ' \
			'--s3-legal-hold[put a legal hold on every object]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	bucket)
		_arguments -S \
			'*--break-glass[role or user that may still delete evidence and change settings]:value: ' \
			'--kms-key[encrypt under this KEY, ARN, id or alias, in place of one that is made]:value: ' \
			'--retain[lock every object by default for this TIME, in days, such as 90d]:value: ' \
			'--lock[how]:value: ' \
			'--accept-compliance[with --lock compliance\: nobody, not even the root user, will be able to delete an object or shorten its time]' \
			'--log-bucket[log accesses to this BUCKET, which exists, in place of NAME-logs]:value: ' \
			'--no-access-log[log no accesses\: a CloudTrail trail does]' \
			'--abort-uploads-after[end unfinished uploads after this TIME, in days, 7d at least\: shotglass upload may still have to finish one]:value: ' \
			'*--tag[tag the buckets]:value: ' \
			'--adopt[complete also a bucket that shotglass did not make]' \
			'--accept-lock-out[make the policy although you are none of --break-glass, or one cannot be looked up]' \
			'--dry-run[print the plan, and change nothing]' \
			'--yes[do not ask]' \
			'--template[print CloudFormation’s template for the same bucket]' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'--json[print JSON Lines to standard output]' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'1:command:(create check)' '*:argument:_files'
		;;
	workstation)
		_arguments -S \
			'--evidence[where the case’s evidence lies, all that the instance may read]:value: ' \
			'--examiner[let SSH in from this ADDRESS/32 and no other; without, only EC2 Instance Connect’s endpoint does]:value: ' \
			'--key-name[key pair of EC2 for --examiner]:value: ' \
			'*--snapshot[attach a volume of this snapshot, read-only; 4 at most]:value: ' \
			'--tools[upload the files of DIR, to be installed there\: shotglass, and wheels of Volatility 3 with all that they need]:file:_files' \
			'--kms-key[key that the evidence is encrypted under\: ARN; without, the bucket’s default one]:value: ' \
			'--instance-type[TYPE, of x86_64 and Nitro]:value: ' \
			'--root-size[size of its own volume, in GiB]:value: ' \
			'--owner[NAME of who answers for it, as a tag]:value: ' \
			'--yes[do not ask]' \
			'--template[print CloudFormation’s template, and call nobody]' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--aws-region[REGION of targets that are not named by ARN]:value: ' \
			'--aws-profile[NAME of the profile in ~/.aws]:value: ' \
			'--aws-endpoint[another server than AWS, such as an emulator]:value: ' \
			'--aws-role[role to assume\: ARN, or the name of a role that each target’s account has]:value: ' \
			'--aws-external-id[external ID for that role]:value: ' \
			'--aws-source-identity[source identity of that role’s session, which CloudTrail shows]:value: ' \
			'--no-instance-metadata[do not ask the instance metadata service which instance this is]' \
			'--json[print JSON Lines to standard output]' \
			'--hourly-price[what an hour of an instance costs]:value: ' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'1:command:(create list destroy images)' '*:argument:_files'
		;;
	modules)
		_arguments -S \
			'*--module[module, or folder with modules]:file:_files' \
			'*--repository[take modules from this repository, after those of --module]:value: ' \
			'*--repository-key[trust repositories that this OpenPGP key signed]:value: ' \
			'--repository-manifest[use the list NAME of repositories]:value: ' \
			'--gpg-no-verify[leave signatures of repositories unchecked\: their modules are unverified]' \
			'--offline[take what repositories have from the cache only]' \
			'--module-cache[keep what repositories have in this DIR, or none]:file:_files' \
			'--repository-ca[accept repositories behind https by the CAs of this PEM FILE only, not by the system’s]:file:_files' \
			'--insecure-repository-http[take a repository without TLS on another machine\: anybody in between sees which kernels are asked for]' \
			'--config[take the repository of this hosts file]:file:_files' \
			'-c[take the repository of this hosts file]:file:_files' \
			'--json[print JSON Lines to standard output]' \
			'--s3-region[REGION of the bucket]:value: ' \
			'--s3-profile[NAME of the profile in ~/.aws]:value: ' \
			'--s3-endpoint[another server than AWS]:value: ' \
			'--s3-path-style[name the bucket in the path, as most other servers want]' \
			'--s3-insecure-http[take an endpoint without TLS on another machine\: anybody in between can read and forge the evidence]' \
			'--s3-role-arn[role to assume]:value: ' \
			'--s3-external-id[external ID for that role]:value: ' \
			'--s3-bucket-owner[ACCOUNT that must own the bucket]:value: ' \
			'--machine[for this MACHINE, as uname -m prints it]:value: ' \
			'--all[fetch everything that the repositories have]' \
			'--output[write the modules to this DIR]:file:_files' \
			'-o[write the modules to this DIR]:file:_files' \
			'--insecure-accept-rollback[take repositories as they are now for current, although newer revisions of them were seen]' \
			'*--headers[headers of kernels\: a .deb or .rpm package, or a folder of packages or headers]:file:_files' \
			'--lime[LiME’s source\: a folder, a tarball or a package]:file:_files' \
			'*--lime-sha256[LiME’s source must have this digest, of the file or of the tree]:value: ' \
			'--apt-sources[take packages from the sources in this FILE, in place of the machine’s]:file:_files' \
			'*--compiler[compile with this one]:value: ' \
			'--kernel-key[sign modules for kernels that enforce signatures, with this private key in PEM]:file:_files' \
			'--kernel-cert[certificate of --kernel-key, which the kernels trust]:file:_files' \
			'--kernel-hash[sign over sha256|sha384|sha512]:value: ' \
			'--symvers[Module.symvers of the kernel, for a single module]:file:_files' \
			'--insecure-unchecked-symbols[take modules without comparing their symbols with the kernel’s. The record says so]' \
			'--to[the repository]:file:_files' \
			'--sign-with[sign with this OpenPGP key\: a private key in a FILE|FINGERPRINT of one that gpg has]:file:_files' \
			'--key-passphrase-file[read the passphrase of a key file from FILE]:file:_files' \
			'--replace[list modules in place of others for the same kernels]' \
			'*--withdraw[list no modules for this kernel RELEASE any more]:value: ' \
			'--packager[what the list says of who made the modules]:value: ' \
			'--unused[remove modules that were not used for this TIME, such as 180d or 720h]:value: ' \
			'--max-size[remove those used least lately until the rest has this SIZE, such as 500MiB]:value: ' \
			'--dry-run[say what would be removed]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'1:command:(list fetch check build add publish prune)' '*:argument:_files'
		;;
	version)
		_arguments -S \
			'--json[print JSON Lines to standard output]' \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	completion)
		_arguments -S \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:(bash zsh fish powershell)'
		;;
	man)
		_arguments -S \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument: '
		;;
	help)
		_arguments -S \
			'--help[print this help to standard output]' \
			'-h[print this help to standard output]' \
			'*:argument:(capture plan verify report cat inspect convert mount serve-image live triage symbols upload contain status release lockdown hosts inventory key ready gather bucket workstation modules version completion man help exit-codes environment secrets json evidence)'
		;;
	esac
}

if [ "$funcstack[1]" = _shotglass ]; then
	_shotglass "$@"
else
	compdef _shotglass shotglass
fi
