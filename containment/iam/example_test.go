package iam_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// A program of one's own contains a user whose key leaked, and gives the user back.
func Example() {
	ctx := context.Background()
	base := leak() // in earnest: awsconfig.Load(ctx, "", "")
	accounts := &awsconfig.Accounts{Base: base, Case: "case-42", NoIMDS: true}
	caller, err := accounts.Caller(ctx)
	if err != nil {
		log.Fatal(err)
	}
	journals, err := os.MkdirTemp("", "journals-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(journals)
	engine := &containment.Engine{
		Services: []containment.Service{&iam.Service{Config: accounts.Config}},
		Journals: containment.Dir(journals), Caller: caller, Tool: "my-soar",
	}

	target, err := containment.ParseTarget("arn:aws:iam::111122223333:user/team/alice")
	if err != nil {
		log.Fatal(err)
	}
	plan, err := engine.Plan(ctx, target, containment.Options{Case: "case-42"})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range plan.Changes {
		fmt.Println(c.Summary)
	}
	result, err := engine.Apply(ctx, plan, containment.ApplyOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Outcome)

	result, err = engine.Release(ctx, result.Journal, containment.ReleaseOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range result.Changes {
		fmt.Println(c.Kind, c.Status)
	}
	fmt.Println(result.Outcome)
	// Unordered output:
	// deny the user alice everything, by the inline policy shotglass-quarantine
	// deny the user alice everything, by AWS's policy AWSDenyAll
	// make the access key AKIAAAAAAAAAAAAAAAAC inactive
	// held
	// iam/access-key kept
	// iam/user-attachment undone
	// iam/user-policy undone
	// released
}

// leak is an AWS where alice's key leaked, as whoever answers incidents there sees it.
func leak() aws.Config {
	cloud := awsfake.New()
	cloud.Account("111122223333").AddUser("/team/", "alice").AddKey("Active")
	return cloud.Config("arn:aws:iam::111122223333:role/responder", "eu-west-1")
}
