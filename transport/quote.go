package transport

import (
	"errors"
	"strings"
)

// Quote joins args into one line that a POSIX shell takes apart into exactly
// args again. Plain words stay as they are, so that the target's process
// list and logs stay readable.
func Quote(args ...string) string {
	var b strings.Builder
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if plain(arg) && (i > 0 || !reserved[arg]) {
			b.WriteString(arg)
			continue
		}
		b.WriteByte('\'')
		b.WriteString(strings.ReplaceAll(arg, "'", `'\''`))
		b.WriteByte('\'')
	}
	return b.String()
}

// plain reports whether a shell takes arg literally, wherever it stands. The
// equals sign is not plain: the first word would be an assignment.
func plain(arg string) bool {
	if arg == "" {
		return false
	}
	for i := range len(arg) {
		c := arg[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("_-./:@,+", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// reserved words are syntax when they stand first and unquoted.
var reserved = map[string]bool{
	"case": true, "coproc": true, "do": true, "done": true, "elif": true, "else": true,
	"esac": true, "fi": true, "for": true, "function": true, "if": true, "in": true,
	"select": true, "then": true, "time": true, "until": true, "while": true,
}

func commandLine(argv []string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", errors.New("run: empty command")
	}
	for _, arg := range argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return "", errors.New("run: an argument holds a NUL byte, which no command can receive")
		}
	}
	return Quote(argv...), nil
}
