package awsconfig_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
)

// A program of one's own contains whatever an alert names, says what stays open, and takes it back. It needs nothing of the command shotglass.
func Example() {
	ctx := context.Background()
	base, alert := incident() // in earnest: awsconfig.Load(ctx, "", "eu-west-1"), and what the alert says
	accounts := &awsconfig.Accounts{Base: base, Case: "case-42", NoIMDS: true}
	caller, err := accounts.Caller(ctx)
	if err != nil {
		log.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "journals-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	roles := &iam.Service{Config: accounts.Config, Trail: &iam.CloudTrail{Config: accounts.Config, Regions: ec2.Regions}, Organization: &iam.Organizations{Config: base}}
	breakGlass, err := containment.ParseTarget("user/emergency")
	if err != nil {
		log.Fatal(err)
	}
	engine := &containment.Engine{
		Services: []containment.Service{&ec2.Service{Config: accounts.Config, Roles: roles, Caller: caller}, roles, &lambda.Service{Config: accounts.Config, Roles: roles}},
		Journals: containment.Dir(folder), Caller: caller, Tool: "my-soar", Guard: containment.Guard{BreakGlass: []containment.Target{breakGlass}},
	}

	var journals []string
	for _, name := range alert {
		target, err := containment.ParseTarget(name)
		if err != nil {
			log.Fatal(err)
		}
		wait := time.Duration(0) // in earnest: the default, 75 s, in which connections become untracked
		plan, err := engine.Plan(ctx, target, containment.Options{Case: "case-42", Forensic: "192.0.2.7/32", UntrackWait: &wait})
		if errors.Is(err, containment.ErrRefused) {
			fmt.Printf("%s: refused\n", target)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		if len(plan.Missing) > 0 { // ask a person here, too, by plan.Risks()
			log.Fatalf("permissions are missing: %v", plan.Missing)
		}
		result, err := engine.Apply(ctx, plan, containment.ApplyOptions{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", result.Target.Kind, result.Outcome)
		for _, r := range result.Residuals {
			if !r.Known {
				fmt.Printf("  stays open: %s\n", r.Path)
			}
		}
		journals = append(journals, result.Journal)
	}
	for _, name := range slices.Backward(journals) {
		result, err := engine.Release(ctx, name, containment.ReleaseOptions{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", result.Target.Kind, result.Outcome)
	}
	// Output:
	// instance: residual
	//   stays open: nat-gateway
	// function: held
	// user: held
	// user/emergency: refused
	// user: released
	// function: released
	// instance: released
}

// incident is an AWS where something happened, as whoever answers incidents there sees it, and what the alert says.
func incident() (aws.Config, []string) {
	cloud := awsfake.New()
	account := cloud.Account("111122223333")
	region := account.Region("eu-west-1")
	key := account.AddUser("/team/", "alice").AddKey("Active")
	account.AddUser("/", "emergency")
	thumbs := region.AddFunction("thumbs", account.AddRole("/", "thumbs").ARN)
	var host *awsfake.Instance
	cloud.Edit(func() {
		vpc := region.AddVPC(awsfake.VPC{})
		subnet := region.AddSubnet(vpc.ID, awsfake.Route{To: "0.0.0.0/0", Via: "nat-1"})
		host = region.AddInstance(awsfake.Instance{}, subnet.ID, region.AddGroup(vpc.ID, "web", awsfake.All(true)...).ID)
	})
	return cloud.Config("arn:aws:iam::111122223333:role/responder", "eu-west-1"), []string{host.ID, thumbs.ARN, key.ID, "user/emergency"}
}
