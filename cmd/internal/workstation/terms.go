package workstation

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MostSnapshots is how many volumes the template has room for.
const MostSnapshots = 4

// Terms are what an instance is for.
type Terms struct {
	Case, Owner    string
	Bucket, Prefix string // of the evidence; the prefix ends in a slash
	KMSKey         string // ARN; empty: none
	ExaminerCIDR   string // A.B.C.D/32; empty: an EC2 Instance Connect endpoint
	KeyName        string
	InstanceType   string
	RootGiB        int
	Snapshots      []string
	ToolSums       string // lines of sha256sum, of what lies under PREFIXtools/
}

// parameters are those of the template that the terms say, by name; those that they leave open have the template's values.
func (t Terms) parameters() [][2]string {
	values := [][2]string{{"Case", t.Case}, {"Bucket", t.Bucket}, {"Prefix", t.Prefix}, {"KmsKeyArn", t.KMSKey}, {"ExaminerCidr", t.ExaminerCIDR}, {"KeyName", t.KeyName}, {"ToolSums", t.ToolSums}}
	if t.InstanceType != "" {
		values = append(values, [2]string{"InstanceType", t.InstanceType})
	}
	if t.RootGiB > 0 {
		values = append(values, [2]string{"RootGiB", strconv.Itoa(t.RootGiB)})
	}
	for i := range MostSnapshots {
		id := ""
		if i < len(t.Snapshots) {
			id = t.Snapshots[i]
		}
		values = append(values, [2]string{fmt.Sprintf("Snapshot%d", i+1), id})
	}
	return values
}

// agrees is nil if the stack was made on these terms. If not, the error names what differs, and wraps ErrDiffers.
func (s *Stack) agrees(t Terms) error {
	var differ []string
	compare := func(what, is, want string) {
		if !slices.Equal(strings.Fields(is), strings.Fields(want)) { // how blanks come back is not known
			differ = append(differ, fmt.Sprintf("%s is %.80q and not %.80q", what, is, want))
		}
	}
	compare("the tag "+TagCase, s.Case, t.Case)
	compare("the tag "+TagOwner, s.Owner, t.Owner)
	for _, v := range t.parameters() {
		compare(v[0], s.parameters[v[0]], v[1])
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("%w: of its stack %s, %s", ErrDiffers, s.Name, strings.Join(differ, "; "))
}

var snapshotID = regexp.MustCompile(`^snap-[0-9a-f]{8,17}$`)

// prefixText is what a prefix may have: it stands in policies, where * would mean more than one case.
var prefixText = regexp.MustCompile(`^[A-Za-z0-9/_.=@+-]+/$`)

var oneAddress = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,3}){3}/32$`)

var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+$`)

// KeyRegion is the region of the key; empty if there is none.
func (t Terms) KeyRegion() string {
	if m := keyARN.FindStringSubmatch(t.KMSKey); m != nil {
		return m[1]
	}
	return ""
}

// Valid says what is wrong with terms.
func (t Terms) Valid() error {
	if _, err := StackName(t.Case); err != nil {
		return err
	}
	switch {
	case !prefixText.MatchString(t.Prefix):
		return fmt.Errorf("the evidence must be under a prefix of letters, digits and /_.=@+-, which is all that the instance may read; it is %q", t.Prefix)
	case t.ExaminerCIDR != "" && !oneAddress.MatchString(t.ExaminerCIDR):
		return fmt.Errorf("%q: want one address, such as 198.51.100.7/32", t.ExaminerCIDR)
	case t.KMSKey != "" && !keyARN.MatchString(t.KMSKey):
		return fmt.Errorf("the key %q: want the ARN of the key itself, arn:aws:kms:REGION:ACCOUNT:key/ID, since IAM knows no aliases", t.KMSKey)
	case t.KeyName != "" && t.ExaminerCIDR == "":
		return errors.New("a key pair is for direct access: name the examiner's address")
	case len(t.Snapshots) > MostSnapshots:
		return fmt.Errorf("%d snapshots: the template has room for %d", len(t.Snapshots), MostSnapshots)
	case t.RootGiB != 0 && (t.RootGiB < 16 || t.RootGiB > 16384):
		return fmt.Errorf("a root volume of %d GiB: want 16 to 16384", t.RootGiB)
	}
	for _, s := range t.Snapshots {
		if !snapshotID.MatchString(s) {
			return fmt.Errorf("%q is no snapshot", s)
		}
	}
	return t.fits()
}
