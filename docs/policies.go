// Package docs holds the policies of this folder, each of which is what a command needs and nothing else, for the program that says
// whether somebody has them.
package docs

import "embed"

// Policies are the policies of IAM, by the names of their files: "gather-policy.json".
//
//go:embed *-policy.json
var Policies embed.FS
