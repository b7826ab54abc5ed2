package hosts

import (
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func isNull(n ast.Node) bool {
	_, null := n.(*ast.NullNode)
	return null
}

// isEmpty is about what counts as if the key were not there.
func isEmpty(n ast.Node) bool {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value == ""
	case *ast.LiteralNode:
		return v.Value.Value == ""
	}
	return isNull(n)
}

func integer(n ast.Node) (int64, bool) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return 0, false
	}
	switch k := i.Value.(type) {
	case int64:
		return k, true
	case uint64:
		return int64(min(k, math.MaxInt64)), true
	}
	return 0, false
}

// boolean knows YAML 1.1's words too, which Margarita Shotgun's reader took.
func boolean(n ast.Node) (value, ok bool) {
	switch v := n.(type) {
	case *ast.BoolNode:
		return v.Value, true
	case *ast.StringNode:
		if v.GetToken().Type.String() == "String" { // not in quotes
			switch strings.ToLower(v.Value) {
			case "yes", "on":
				return true, true
			case "no", "off":
				return false, true
			}
		}
	}
	return false, false
}

// describe names a node with its value, which is no secret.
func describe(n ast.Node) string {
	switch v := n.(type) {
	case *ast.StringNode:
		return strconv.Quote(v.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value
	}
	return kindOf(n)
}

func quoteHint(n ast.Node, want string) string {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		if strings.HasPrefix(want, "text") {
			return " (in quotes)"
		}
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func orFile(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
