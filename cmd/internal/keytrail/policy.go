package keytrail

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// A policy is one of IAM's, as far as it is judged. Its texts are whoever's who wrote it.
type policy struct{ Statement statements }

type statement struct {
	Effect               string
	Action, NotAction    words
	Resource             words
	NotResource          words
	Principal            any
	Condition            map[string]json.RawMessage
	conditional, allowed bool
}

// statements are one or several.
type statements []statement

func (s *statements) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		*s = make(statements, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]statement)(s))
}

// words are one text or several.
type words []string

func (w *words) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*w = make(words, 1)
		return json.Unmarshal(b, &(*w)[0])
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// parsePolicy reads a document as IAM returns it: JSON, URL-encoded.
func parsePolicy(document string) (*policy, error) {
	text, err := url.PathUnescape(document)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	p := &policy{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	for i := range p.Statement {
		s := &p.Statement[i]
		s.conditional, s.allowed = len(s.Condition) > 0, s.Effect == "Allow"
	}
	return p, nil
}

// about reports whether a statement is about an action.
func (s *statement) about(action string) bool {
	if len(s.NotAction) > 0 {
		return !matches(s.NotAction, action)
	}
	return matches(s.Action, action)
}

// on are the resources that it is about.
func (s *statement) on() []string {
	if len(s.NotResource) > 0 {
		return []string{"all but " + strings.Join(s.NotResource, ", ")}
	}
	return s.Resource
}

func (s *statement) everywhere() bool { return slices.Contains(s.Resource, "*") }

func matches(patterns []string, action string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return like(strings.ToLower(p), strings.ToLower(action)) })
}

// like matches * and ?, in time that grows with the product of both lengths at most.
func like(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// trusted are the principals that a trust policy lets in, each once.
func (p *policy) trusted() (names []string) {
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			names = append(names, v)
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(v[k])
			}
		}
	}
	for i := range p.Statement {
		if p.Statement[i].allowed {
			walk(p.Statement[i].Principal)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
