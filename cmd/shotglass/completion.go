package main

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

//go:embed completion/shotglass.bash completion/shotglass.zsh completion/shotglass.fish completion/shotglass.ps1
var completions embed.FS

// shells are the shells that completion knows, and the ending of the script's name.
var shells = []struct{ name, ext string }{{"bash", "bash"}, {"zsh", "zsh"}, {"fish", "fish"}, {"powershell", "ps1"}}

const completionText = `Prints a completion script:

  bash        source <(shotglass completion bash)
  zsh         shotglass completion zsh > "${fpath[1]}/_shotglass"
  fish        shotglass completion fish > ~/.config/fish/completions/shotglass.fish
  powershell  shotglass completion powershell | Out-String | Invoke-Expression`

func completionCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a completion script for a shell",
		ArgsUsage: "bash|zsh|fish|powershell", Description: completionText,
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() != 1 {
				return usagef("completion takes the name of one shell: bash, zsh, fish or powershell")
			}
			for _, s := range shells {
				if s.name == ctx.Args().First() {
					script, err := completions.ReadFile("completion/shotglass." + s.ext)
					if err != nil {
						return err
					}
					c.Write(script)
					return nil
				}
			}
			return usagef("no completion for %q", ctx.Args().First()).fix("the shells are bash, zsh, fish and powershell")
		},
	}
}

// The scripts are static: completing a word runs nothing, least of all what stands
// on the line so far.

// complCommand and complFlag are what the templates see.
type complCommand struct {
	Name, Usage string
	Flags       []complFlag
	Words       []string // that can be an argument
	Files       bool     // arguments are files
	Hosts       bool     // arguments are hosts
}

type complFlag struct {
	Names  []string // with dashes
	Usage  string
	Takes  bool
	Files  bool
	Values []string
	Many   bool
}

func complCommands(app *cli.App) (out []complCommand) {
	for _, cmd := range app.Commands {
		c := complCommand{Name: cmd.Name, Usage: cmd.Usage}
		switch {
		case cmd.Name == "completion":
			for _, s := range shells {
				c.Words = append(c.Words, s.name)
			}
		case cmd.Name == "help":
			c.Words = commandNames(app)
			for _, t := range topics() {
				c.Words = append(c.Words, t.name)
			}
		case len(cmd.Subcommands) > 0:
			for _, sub := range cmd.Subcommands {
				c.Words = append(c.Words, sub.Name)
				for _, f := range sub.VisibleFlags() {
					name := f.Names()[0] // the command has a help of its own, and subcommands share flags
					if name != "help" && !slices.ContainsFunc(c.Flags, func(have complFlag) bool { return slices.Contains(have.Names, "--"+name) }) {
						c.Flags = append(c.Flags, complFlagOf(f))
					}
				}
			}
			c.Files = true // of the subcommands
		case strings.HasPrefix(cmd.ArgsUsage, "FILE"):
			c.Files = true
		case strings.HasPrefix(cmd.ArgsUsage, "HOST"):
			c.Hosts = true
		}
		for _, f := range cmd.VisibleFlags() {
			c.Flags = append(c.Flags, complFlagOf(f))
		}
		out = append(out, c)
	}
	return out
}

func complFlagOf(f cli.Flag) complFlag {
	d := f.(cli.DocGenerationFlag)
	_, usage := placeholder(d)
	out := complFlag{Usage: usage, Takes: d.TakesValue()}
	for _, n := range f.Names() {
		if len(n) == 1 {
			out.Names = append(out.Names, "-"+n)
		} else {
			out.Names = append(out.Names, "--"+n)
		}
	}
	switch f := f.(type) {
	case *cli.StringFlag:
		out.Files = f.TakesFile
	case *cli.StringSliceFlag:
		out.Files, out.Many = f.TakesFile, true
	}
	switch f.Names()[0] {
	case "compress":
		out.Values = slices.Clone(compressions)
	case "compress-level":
		out.Values = slices.Clone(frame.Levels)
	case "progress":
		out.Values = slices.Clone(progresses)
	}
	return out
}

// makeCompletion makes the script for a shell.
func makeCompletion(app *cli.App, shell string) (string, error) {
	app.Setup()
	var text string
	switch shell {
	case "fish":
		text = fishTemplate
	case "bash":
		text = bashTemplate
	case "zsh":
		text = zshTemplate
	case "powershell":
		text = powershellTemplate
	default:
		return "", fmt.Errorf("no completion for %q", shell)
	}
	t, err := template.New(shell).Funcs(template.FuncMap{
		"join": strings.Join,
		"psq":  func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" },
		"zshq": zshQuote,
		"fishq": func(s string) string {
			return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "`", "").Replace(s) + "'"
		},
		"dashless": func(s string) string { return strings.TrimLeft(s, "-") },
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, complCommands(app))
	return b.String(), err
}

// zshQuote makes a text fit for a description of _arguments and _describe, inside
// single quotes.
func zshQuote(s string) string {
	return strings.NewReplacer(`'`, `’`, `[`, `(`, `]`, `)`, `:`, `\:`, "`", "").Replace(s)
}

const bashTemplate = `# bash completion for shotglass; made by: shotglass completion bash

_shotglass() {
	local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" cmd="${COMP_WORDS[1]}"
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W "{{range .}}{{.Name}} {{end}}--help --version" -- "$cur"))
		return
	fi
	local flags= words= files= hosts=
	case "$cmd" in
{{- range .}}
	{{.Name}})
		case "$prev" in
{{- range .Flags}}{{if .Values}}
		{{join .Names "|"}}) COMPREPLY=($(compgen -W "{{join .Values " "}}" -- "$cur")); return ;;
{{- else if .Files}}
		{{join .Names "|"}}) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); return ;;
{{- else if .Takes}}
		{{join .Names "|"}}) return ;;
{{- end}}{{end}}
		esac
		flags="{{range $i, $f := .Flags}}{{if $i}} {{end}}{{join .Names " "}}{{end}}"
		words="{{join .Words " "}}"{{if .Files}} files=1{{end}}{{if .Hosts}} hosts=1{{end}}
		;;
{{- end}}
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
`

const zshTemplate = `#compdef shotglass
# zsh completion for shotglass; made by: shotglass completion zsh

_shotglass() {
	local curcontext="$curcontext" state line
	local -a commands
	commands=(
{{- range .}}
		'{{.Name}}:{{zshq .Usage}}'
{{- end}}
	)
	if (( CURRENT == 2 )); then
		_describe 'command' commands
		return
	fi
	local cmd="$words[2]"
	shift words
	(( CURRENT-- ))
	case "$cmd" in
{{- range .}}
	{{.Name}})
		_arguments -S \
{{- range .Flags}}{{$f := .}}{{range .Names}}
			'{{if $f.Many}}*{{end}}{{.}}[{{zshq $f.Usage}}]{{if $f.Values}}:value:({{join $f.Values " "}}){{else if $f.Files}}:file:_files{{else if $f.Takes}}:value: {{end}}' \
{{- end}}{{end}}
			{{if and .Words .Files}}'1:command:({{join .Words " "}})' {{end}}'*:argument:{{if and .Words .Files}}_files{{else if .Words}}({{join .Words " "}}){{else if .Files}}_files{{else if .Hosts}}_hosts{{else}} {{end}}'
		;;
{{- end}}
	esac
}

if [ "$funcstack[1]" = _shotglass ]; then
	_shotglass "$@"
else
	compdef _shotglass shotglass
fi
`

// A flag says whether its value is a file; so fish is told not to offer files by itself.
const fishTemplate = `# fish completion for shotglass; made by: shotglass completion fish

complete -c shotglass -f
complete -c shotglass -n __fish_use_subcommand -l help -d 'print this help to standard output'
complete -c shotglass -n __fish_use_subcommand -l version -d 'print the version'
{{- range .}}{{$c := .}}
complete -c shotglass -n __fish_use_subcommand -a {{.Name}} -d {{fishq .Usage}}
{{- range .Flags}}
complete -c shotglass -n '__fish_seen_subcommand_from {{$c.Name}}'{{range .Names}} {{if eq (len .) 2}}-s{{else}}-l{{end}} {{dashless .}}{{end}}{{if .Files}} -r -F{{else if .Values}} -x -a {{fishq (join .Values " ")}}{{else if .Takes}} -x{{end}} -d {{fishq .Usage}}
{{- end}}
{{- if .Words}}
complete -c shotglass -n '__fish_seen_subcommand_from {{.Name}}{{if .Files}}; and not __fish_seen_subcommand_from {{join .Words " "}}{{end}}' -a {{fishq (join .Words " ")}}
{{- end}}
{{- if .Files}}
complete -c shotglass -n '__fish_seen_subcommand_from {{.Name}}{{if .Words}}; and __fish_seen_subcommand_from {{join .Words " "}}{{end}}' -F
{{- end}}
{{- if .Hosts}}
complete -c shotglass -n '__fish_seen_subcommand_from {{.Name}}' -a '(__fish_print_hostnames)' -d host
{{- end}}
{{- end}}
`

const powershellTemplate = `# PowerShell completion for shotglass; made by: shotglass completion powershell

Register-ArgumentCompleter -Native -CommandName shotglass -ScriptBlock {
	param($wordToComplete, $commandAst, $cursorPosition)
	$commands = [ordered]@{
{{- range .}}
		{{psq .Name}} = @({{psq .Usage}}, @({{range $i, $f := .Flags}}{{range $j, $n := .Names}}{{if or $i $j}}, {{end}}{{psq $n}}{{end}}{{end}}), @({{range $i, $w := .Words}}{{if $i}}, {{end}}{{psq $w}}{{end}}))
{{- end}}
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
`
