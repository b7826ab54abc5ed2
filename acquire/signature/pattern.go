package signature

import "strings"

// matchList matches s against a comma-separated list of patterns, in which '*'
// and '?' are wild and a match of a pattern after '!' refuses: see PATTERNS in
// ssh_config(5).
func matchList(s, list string) bool {
	matched := false
	for p := range strings.SplitSeq(list, ",") {
		p, negated := strings.CutPrefix(p, "!")
		if p != "" && matchPattern(s, p) {
			if negated {
				return false
			}
			matched = true
		}
	}
	return matched
}

// matchPattern needs no recursion: when what follows the last '*' does not
// match, only that star can take one byte more.
func matchPattern(s, pattern string) bool {
	i, p, star, resume := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			resume++
			p, i = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
