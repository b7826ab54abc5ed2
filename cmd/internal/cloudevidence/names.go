package cloudevidence

import (
	"regexp"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
)

// Is reports whether a file of a case is of what was gathered: a record, or an archive.
func Is(name string) bool { return RecordOf(name) != "" }

// RecordOf is the name of the record that a file belongs to, by its own name; empty: to none.
func RecordOf(name string) string {
	for _, suffix := range []string{acquire.SignatureSuffix, ""} {
		for _, kind := range []string{Suffix, SnapshotsSuffix, BegunSuffix} {
			if base, ok := strings.CutSuffix(name, kind+suffix); ok && base != "" {
				return base + Suffix
			}
		}
	}
	if m := archiveName.FindStringSubmatch(name); m != nil {
		return m[1] + Suffix
	}
	return ""
}

// archiveName has what a name begins with, and which item it is of. A number stands behind a name that was taken.
var archiveName = func() *regexp.Regexp {
	var names []string
	for _, k := range kinds {
		names = append(names, regexp.QuoteMeta(k.Name))
	}
	return regexp.MustCompile(`^(.+` + nameMark + `(?:-\d+)?)-(` + strings.Join(names, "|") + `)(?:-\d+)?` + regexp.QuoteMeta(ArchiveSuffix) + `(?:` + regexp.QuoteMeta(agefile.Suffix) + `)?$`)
}()
