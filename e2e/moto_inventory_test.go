//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// Instances over regions and accounts, by selectors, on an emulator that someone else wrote. It knows neither endpoints of EC2 Instance
// Connect nor Systems Manager's agents, neither pictures of consoles nor CloudTrail's events, nor simulations of policies: those calls are refused before they reach it, as without the permission.
func TestMotoInventory(t *testing.T) {
	t.Parallel()
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	env := moto.Env("eu-west-1")
	front := httptest.NewServer(refuseUnknown(t, moto.Endpoint))
	t.Cleanup(front.Close)
	for i, kv := range env {
		if strings.HasPrefix(kv, "AWS_ENDPOINT_URL=") {
			env[i] = "AWS_ENDPOINT_URL=" + front.URL
		}
	}
	const other, role = "444455556666", "responder"
	them := moto.Config("eu-west-1")
	them.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(them), "arn:aws:iam::"+other+":role/"+role))
	web := runMoto(t, moto.Config("eu-west-1"), 3, "Env=prod", "Case=42")
	db := runMoto(t, moto.Config("eu-west-1"), 1, "Env=prod")
	us := runMoto(t, moto.Config("us-east-1"), 1, "Case=42")
	theirs := runMoto(t, them, 1, "Case=42")
	stopped := web[2]
	got(awsec2.NewFromConfig(moto.Config("eu-west-1")).StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: []string{*stopped.InstanceId}}))(t)

	list := func(code int, args ...string) (ids []string) {
		t.Helper()
		r := start(t, env, append([]string{"inventory", "--json"}, args...)...)
		r.want(code, 2*time.Minute)
		for line := range strings.Lines(r.stdout.String()) {
			var m struct {
				Type    string   `json:"message_type"`
				ID      string   `json:"id"`
				Unknown []string `json:"unknown"`
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if m.Type == "instance" {
				ids = append(ids, m.ID)
				if len(m.Unknown) != 2 { // the two that are refused
					t.Errorf("%s: %q", m.ID, m.Unknown)
				}
			}
		}
		slices.Sort(ids)
		return ids
	}
	ids := func(sets ...[]ec2types.Instance) (ids []string) {
		for _, set := range sets {
			for _, i := range set {
				ids = append(ids, *i.InstanceId)
			}
		}
		slices.Sort(ids)
		return ids
	}
	const partial = 3
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"tag:Env=prod"}, ids(web, db)},
		{[]string{"tag:Case=42,!" + *stopped.InstanceId}, ids(web[:2])},
		{[]string{*db[0].PrivateIpAddress}, ids(db)},
		{[]string{strings.ToUpper(*db[0].PrivateDnsName)}, ids(db)},
		{[]string{"--ec2-region", "eu-west-1", "--ec2-region", "us-east-1", "tag:Case=4?"}, ids(web, us)},
		{[]string{"--ec2-account", lab.MotoAccount, "--ec2-account", other, "--aws-role", role, "--ec2-region", "eu-west-1", "tag:Case"}, ids(web, theirs)},
		{[]string{"arn:aws:ec2:us-east-1:" + lab.MotoAccount + ":instance/" + *us[0].InstanceId}, ids(us)},
		{[]string{*web[0].SubnetId}, ids(web, db)},
		{[]string{"--related", *db[0].InstanceId, "tag:Case=42"}, ids(web)}, // one AMI, and the VPC's default group
	} {
		if have := list(partial, tt.args...); !slices.Equal(have, tt.want) {
			t.Errorf("%q: %q, want %q", tt.args, have, tt.want)
		}
	}

	t.Run("gather", func(t *testing.T) { gatherMoto(t, moto.Config("eu-west-1"), env) })
	t.Run("flows", func(t *testing.T) { flowsMoto(t, moto.Config("eu-west-1"), env, web[0], db[0]) })
	t.Run("key", func(t *testing.T) { keyMoto(t, moto.Config("eu-west-1"), env) })

	hosts := filepath.Join(t.TempDir(), "hosts.yml")
	text := fmt.Sprintf("hosts:\n- ec2: tag:Case=42\n  ec2_region: all\n  username: root\n  proxy_command: \"false\"\n- {ec2: %s, proxy_command: \"false\"}\n", *db[0].InstanceId)
	if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, env, "plan", "--json", "--ssh-config", "none", "--connect-attempts", "1", "-c", hosts)
	r.want(1, 2*time.Minute, "left out: "+*stopped.InstanceId+": it is stopped")
	if !strings.Contains(r.stdout.String(), `"user":"ubuntu","user_why":"the name of its AMI"`) {
		t.Errorf("no login by the AMI's name:\n%s", r.stdout.String())
	}
	for _, i := range slices.Concat(web[:2], us, db) {
		if !strings.Contains(r.stdout.String(), `"ec2":{"id":"`+*i.InstanceId+`"`) {
			t.Errorf("no plan for %s:\n%s", *i.InstanceId, r.stdout.String())
		}
	}
}

// refuseUnknown passes calls on, but for those that moto does not know, which it denies.
func refuseUnknown(t *testing.T, to string) http.Handler {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return // the client is gone
		}
		target := r.Header.Get("X-Amz-Target")
		action := func(name string) bool { return bytes.Contains(body, []byte("Action="+name+"&")) }
		switch {
		case strings.HasSuffix(target, ".DescribeInstanceInformation"), strings.HasSuffix(target, ".LookupEvents"):
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"__type":"AccessDeniedException","message":"not here"}`)
		case action("DescribeInstanceConnectEndpoints"), action("GetConsoleScreenshot"), action("SimulatePrincipalPolicy"), action("ListServiceSpecificCredentials"):
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>not here</Message></Error></Errors></Response>`)
		default:
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			proxy.ServeHTTP(w, r)
		}
	})
}

// runMoto runs n instances with tags.
func runMoto(t *testing.T, cfg aws.Config, n int32, tags ...string) []ec2types.Instance {
	t.Helper()
	c := awsec2.NewFromConfig(cfg)
	spec := ec2types.TagSpecification{ResourceType: ec2types.ResourceTypeInstance}
	for _, tag := range tags {
		k, v, _ := strings.Cut(tag, "=")
		spec.Tags = append(spec.Tags, ec2types.Tag{Key: &k, Value: &v})
	}
	image := "ami-785db401" // Ubuntu, as moto knows it
	return got(c.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: &image, InstanceType: "m5.large", MinCount: &n, MaxCount: &n, TagSpecifications: []ec2types.TagSpecification{spec}}))(t).Instances
}
