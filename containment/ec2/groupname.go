package ec2

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var numbered = regexp.MustCompile(` \([0-9]+\)$`)

// base is the name of a group of ours without the number that it has where strangers took the name.
func base(name string) string { return numbered.ReplaceAllString(name, "") }

// A groupNamer chooses the names of our groups in one VPC.
type groupNamer struct {
	taken map[string]*types.SecurityGroup // by name in lower case: EC2 tells names apart no further
}

func (c *conn) groupNames(ctx context.Context, vpc string) (*groupNamer, error) {
	filters := []types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}}
	if c.t.Account != "" { // in a shared VPC each account has groups of its own
		filters = append(filters, types.Filter{Name: aws.String("owner-id"), Values: []string{c.t.Account}})
	}
	n := &groupNamer{taken: map[string]*types.SecurityGroup{}}
	pages := sdk.NewDescribeSecurityGroupsPaginator(c.ec2, &sdk.DescribeSecurityGroupsInput{Filters: filters})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("ec2:DescribeSecurityGroups", err)
		}
		for _, g := range out.SecurityGroups {
			n.taken[strings.ToLower(aws.ToString(g.GroupName))] = &g
		}
	}
	return n, nil
}

// name is that of our group: the one that is there, or else the first that nobody has. stranger is who has the name without a number.
// A group that is not ours is not used: its rules may be such as the caller may not revoke.
func (n *groupNamer) name(plain string) (name string, stranger *types.SecurityGroup) {
	if g := n.taken[plain]; g != nil && !ours(g) {
		stranger = g
	}
	free := ""
	for i := 1; i <= len(n.taken)+1; i++ { // one of them is free
		name = plain
		if i > 1 {
			name = fmt.Sprintf("%s (%d)", plain, i)
		}
		g := n.taken[name]
		if g != nil && ours(g) && aws.ToString(g.GroupName) == name {
			return name, stranger
		}
		if g == nil && free == "" {
			free = name
		}
	}
	return free, stranger
}
