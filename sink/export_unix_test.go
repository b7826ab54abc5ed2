//go:build linux || darwin

package sink

// LinkNoReplace is the fallback of RenameNoReplace.
var LinkNoReplace = linkNoReplace
