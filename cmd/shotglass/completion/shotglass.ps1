# PowerShell completion for shotglass; made by: shotglass completion powershell

Register-ArgumentCompleter -Native -CommandName shotglass -ScriptBlock {
	param($wordToComplete, $commandAst, $cursorPosition)
	$commands = [ordered]@{
		'capture' = @('capture the memory of hosts, completely and provably', @('--config', '-c', '--to', '--output', '-o', '--name', '--case', '--operator', '--sign-key', '--unsigned', '--compress', '--compress-level', '--resume', '--signers', '--recipient', '--recipients-file', '--allow-low-space', '--user', '-l', '--port', '-p', '--jump', '-J', '--proxy-command', '--ssh-config', '--known-hosts', '--host-key', '--insecure-ignore-host-key', '--connect-timeout', '--dial-timeout', '--connect-attempts', '--key', '-i', '--no-agent', '--password-file', '--ask-password', '--sudo-password-file', '--ask-sudo-password', '--key-passphrase-file', '--method', '--connections', '--compress-on-target', '--swap', '--accept-unreadable', '--module', '--module-sha256', '--insecure-unverified-module', '--insecure-installed-module', '--stall-timeout', '--min-rate', '--cleanup-timeout', '--parallel', '--memory-budget', '--require-all', '--limit-rate', '--limit-total-rate', '--compress-threads', '--json', '--quiet', '-q', '--progress', '--log-dir', '--log-prefix', '--notify', '--notify-secret-file', '--insecure-notify-http', '--repository', '--repository-key', '--repository-manifest', '--gpg-no-verify', '--offline', '--module-cache', '--repository-ca', '--insecure-repository-http', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--spill', '--s3-segment-size', '--s3-kms-key', '--s3-storage-class', '--s3-tag', '--s3-lock', '--s3-retain', '--s3-legal-hold', '--help', '-h'), @())
		'plan' = @('say how hosts would be captured; write nothing', @('--config', '-c', '--to', '--output', '-o', '--name', '--case', '--operator', '--sign-key', '--unsigned', '--compress', '--compress-level', '--resume', '--signers', '--recipient', '--recipients-file', '--allow-low-space', '--user', '-l', '--port', '-p', '--jump', '-J', '--proxy-command', '--ssh-config', '--known-hosts', '--host-key', '--insecure-ignore-host-key', '--connect-timeout', '--dial-timeout', '--connect-attempts', '--key', '-i', '--no-agent', '--password-file', '--ask-password', '--sudo-password-file', '--ask-sudo-password', '--key-passphrase-file', '--method', '--connections', '--compress-on-target', '--swap', '--accept-unreadable', '--module', '--module-sha256', '--insecure-unverified-module', '--insecure-installed-module', '--stall-timeout', '--min-rate', '--cleanup-timeout', '--parallel', '--memory-budget', '--require-all', '--limit-rate', '--limit-total-rate', '--compress-threads', '--json', '--quiet', '-q', '--progress', '--log-dir', '--log-prefix', '--notify', '--notify-secret-file', '--insecure-notify-http', '--repository', '--repository-key', '--repository-manifest', '--gpg-no-verify', '--offline', '--module-cache', '--repository-ca', '--insecure-repository-http', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--spill', '--s3-segment-size', '--s3-kms-key', '--s3-storage-class', '--s3-tag', '--s3-lock', '--s3-retain', '--s3-legal-hold', '--help', '-h'), @())
		'verify' = @('check images against their manifests and signatures', @('--signers', '--at', '--workers', '--json', '--identity', '-i', '--identity-passphrase-file', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--help', '-h'), @())
		'report' = @('make an HTML page of a case', @('--output', '-o', '--signers', '--at', '--verify', '--workers', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--help', '-h'), @())
		'cat' = @('print the raw image to standard output', @('--force', '-f', '--identity', '-i', '--identity-passphrase-file', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--help', '-h'), @())
		'inspect' = @('tell what a LiME image holds, whoever made it', @('--json', '--identity', '-i', '--identity-passphrase-file', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--help', '-h'), @())
		'upload' = @('bring to its bucket what a capture left in its --spill folder', @('--json', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--help', '-h'), @())
		'hosts' = @('check hosts files', @('--json', '--help', '-h'), @('check'))
		'modules' = @('list, fetch, check, build, add and publish LiME modules', @('--module', '--repository', '--repository-key', '--repository-manifest', '--gpg-no-verify', '--offline', '--module-cache', '--repository-ca', '--insecure-repository-http', '--config', '-c', '--json', '--s3-region', '--s3-profile', '--s3-endpoint', '--s3-path-style', '--s3-insecure-http', '--s3-role-arn', '--s3-external-id', '--s3-bucket-owner', '--machine', '--all', '--output', '-o', '--insecure-accept-rollback', '--headers', '--lime', '--lime-sha256', '--apt-sources', '--compiler', '--kernel-key', '--kernel-cert', '--kernel-hash', '--symvers', '--insecure-unchecked-symbols', '--to', '--sign-with', '--key-passphrase-file', '--replace', '--withdraw', '--packager', '--unused', '--max-size', '--dry-run', '--help', '-h'), @('list', 'fetch', 'check', 'build', 'add', 'publish', 'prune'))
		'version' = @('print the version, the commit and the digest of this program', @('--json', '--help', '-h'), @())
		'completion' = @('print a completion script for a shell', @('--help', '-h'), @('bash', 'zsh', 'fish', 'powershell'))
		'man' = @('print the man page', @('--help', '-h'), @())
		'help' = @('explain a command or a topic', @('--help', '-h'), @('capture', 'plan', 'verify', 'report', 'cat', 'inspect', 'upload', 'hosts', 'modules', 'version', 'completion', 'man', 'help', 'exit-codes', 'environment', 'secrets', 'json', 'evidence'))
	}
	$elements = @($commandAst.CommandElements | ForEach-Object { $_.ToString() })
	$typed = $elements.Count
	if ($wordToComplete -ne '') { $typed-- }
	if ($typed -le 1) {
		$commands.Keys | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object {
			[System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $commands[$_][0])
		}
		return
	}
	$command = $commands[$elements[1]]
	if ($null -eq $command) { return }
	$candidates = $command[2]
	if ($wordToComplete -like '-*') { $candidates = $command[1] }
	$candidates | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object {
		[System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
	}
}
