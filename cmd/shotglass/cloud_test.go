package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// fillCloud puts instances into two regions of an account, and one into another account, whose role the responder may assume.
func fillCloud(cloud *awsfake.Cloud) {
	cloud.AddRole("arn:aws:iam::444455556666:role/responder", awsfake.Trust{Principals: []string{responderARN}})
	cloud.Account("111122223333").AddRole("/ir/", "responder")
	r := cloud.Account("111122223333").Region("eu-west-1")
	r.AddBucket("bare")
	r.StackParts = []awsfake.StackPart{{Name: "VPC", Type: "AWS::EC2::VPC"}, {Name: "Volume1", Type: "AWS::EC2::Volume"}, {Name: "Instance", Type: "AWS::EC2::Instance"}}
	r.AddVPC(awsfake.VPC{ID: "vpc-00000001"})
	subnet := r.AddSubnet("vpc-00000001")
	open := r.AddGroup("vpc-00000001", "open", awsfake.TCP(false, 22, "0.0.0.0/0"))
	r.Images["ami-00000001"] = awsfake.Image{Name: "al2023-ami-2023.9.20251014.0-kernel-6.12-x86_64", Owner: "amazon"}
	add := func(i awsfake.Instance, private, public string, groups ...string) {
		in := r.AddInstance(i, subnet.ID, groups...)
		for _, e := range r.Interfaces {
			if e.Instance == in.ID {
				e.PrivateIP, e.AutoPublicIP = private, public
			}
		}
	}
	add(awsfake.Instance{ID: "i-00000001", Image: "ami-00000001", Key: "ops", Profile: "arn:aws:iam::111122223333:instance-profile/web",
		Tags: map[string]string{"Name": "web-\u202e1", "Env": "prod", "Case": "42"}}, "127.0.9.1", "203.0.113.1", open.ID)
	add(awsfake.Instance{ID: "i-00000002", Image: "ami-00000009", Key: "ops", Tags: map[string]string{"Name": "db", "Env": "prod", "Case": "42"}}, "127.0.9.2", "", open.ID)
	add(awsfake.Instance{ID: "i-00000003", State: "stopped", Tags: map[string]string{"Name": "old", "Env": "prod"}}, "127.0.9.3", "")
	add(awsfake.Instance{ID: "i-00000004", Platform: "Windows", Tags: map[string]string{"Name": "dc", "Env": "prod"}}, "127.0.9.4", "")
	one := r.Instances["i-00000001"]
	one.UserData, one.Screenshot = "#!/bin/sh\nPASSWORD=hunter2\n", []byte("\xff\xd8\xff\xe0 a picture")
	one.Console = awsfake.Console{Posted: "[    0.000000] Linux version 6.12\n", Latest: "web-1 login: \x1b[31mowned\x1b[0m\n", At: awsfake.Start}
	role := cloud.Account("111122223333").AddRole("/", "web-role")
	role.Profiles, role.Attached = []string{"web"}, []string{"arn:aws:iam::111122223333:policy/app"}
	role.Policies["inline"] = `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	cloud.Account("111122223333").IAM().Managed = map[string]string{"arn:aws:iam::111122223333:policy/app": `{"Statement":[]}`}
	r.Trail = []awsfake.TrailEvent{{Resource: "i-00000001", JSON: `{"eventName":"RunInstances"}`}}
	r.AddScaling(awsfake.ScalingGroup{Name: "web-asg", Max: 3}, "i-00000001")
	r.Managed["i-00000001"] = "Online"
	us := cloud.Account("111122223333").Region("us-east-1")
	us.AddInstance(awsfake.Instance{ID: "i-00000011", Tags: map[string]string{"Env": "dev"}}, "subnet-us")
	cloud.Account("111122223333").Region("me-south-1").Off = true
	cloud.Account("444455556666").Region("eu-west-1").AddInstance(awsfake.Instance{ID: "i-00000021", Tags: map[string]string{"Env": "dev"}}, "subnet-them")
}

// cloudCmd starts an AWS of fillCloud, and points the environment to it: cloud [deny OPERATION [REGION]].
func cloudCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 && (args[0] != "deny" || len(args) > 3) {
		ts.Fatalf("usage: cloud [deny OPERATION [REGION]]")
	}
	cloud := awsfake.New()
	ts.Defer(cloud.Close)
	fillCloud(cloud)
	if len(args) > 1 {
		cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == args[1] && (len(args) == 2 || c.Region == args[2]) {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	}
	for _, kv := range cloud.Env(responderARN, "eu-west-1") {
		k, v, _ := strings.Cut(kv, "=")
		ts.Setenv(k, v)
	}
}
