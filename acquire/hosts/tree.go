package hosts

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// anchor is a node with a name.
type anchor struct {
	offset int
	node   ast.Node
}

type anchorVisitor map[string][]anchor

func (v anchorVisitor) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil && a.Value != nil {
		name := a.Name.GetToken().Value
		v[name] = append(v[name], anchor{offsetOf(a), a.Value})
	}
	return v
}

func anchorsOf(n ast.Node) map[string][]anchor {
	v := anchorVisitor{}
	ast.Walk(v, n)
	return v
}

func offsetOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Offset
	}
	return 0
}

// start is the token that a person would point at.
func start(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	case *ast.LiteralNode:
		return n.Start
	case *ast.AnchorNode:
		return n.Start
	case *ast.AliasNode:
		return n.Start
	}
	return n.GetToken()
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{line: t.Position.Line, column: t.Position.Column}
}

// plain follows anchors, aliases and tags to the node that holds something. Nil was
// told of.
func (d *decoder) plain(n ast.Node) ast.Node {
	if d.steps++; d.steps > maxSteps {
		if d.steps == maxSteps+1 {
			d.fail(n, "the aliases of this file unfold to too much")
		}
		return nil
	}
	for range maxAlias {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.TagNode:
			d.fail(v, "tags have no meaning in a hosts file")
			return nil
		case *ast.AliasNode:
			name, found := v.Value.GetToken().Value, ast.Node(nil)
			for _, a := range d.anchors[name] {
				if a.offset < offsetOf(v) {
					found = a.node
				}
			}
			if found == nil {
				d.fail(v, "alias *%s stands for nothing above", name)
				return nil
			}
			n = found
		default:
			return n
		}
	}
	d.fail(n, "aliases of aliases of aliases")
	return nil
}

// kindOf names a node for messages.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a block of keys"
	}
	return strings.ToLower(n.Type().String())
}

// An entry is one key of a block with its value.
type entry struct {
	key   string
	at    place
	value ast.Node
}

// entries are the keys of a block, each once; merged ones (<<) do not outweigh its own.
func (d *decoder) entries(n ast.Node, depth int) ([]entry, bool) {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		return nil, false
	}
	var own, merged []entry
	seen := map[string]place{}
	for _, p := range pairs {
		at := placeOf(p.Key.GetToken())
		if p.Key.IsMergeKey() {
			merged = append(merged, d.merge(p.Value, depth+1)...)
			continue
		}
		key, ok := p.Key.(*ast.StringNode)
		if !ok {
			d.failAt(at, "a key must be text")
			continue
		}
		if first, dup := seen[key.Value]; dup {
			d.failAt(at, "key %q is given twice, first in line %d", key.Value, first.line)
			continue
		}
		seen[key.Value] = at
		own = append(own, entry{key.Value, at, p.Value})
	}
	for _, e := range merged {
		if _, have := seen[e.key]; !have {
			seen[e.key] = e.at
			own = append(own, e)
		}
	}
	return own, true
}

// merge reads what << stands before: a block or a list of blocks.
func (d *decoder) merge(n ast.Node, depth int) []entry {
	if depth > maxAlias {
		d.fail(n, "blocks merge into themselves")
		return nil
	}
	v := d.plain(n)
	if v == nil {
		return nil
	}
	if list, ok := v.(*ast.SequenceNode); ok {
		var out []entry
		for _, one := range list.Values {
			out = append(out, d.merge(one, depth+1)...)
		}
		return out
	}
	out, ok := d.entries(v, depth)
	if !ok {
		d.fail(n, "<< stands before a block of keys, this is %s", kindOf(v))
	}
	return out
}
