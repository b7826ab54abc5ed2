package awsfake

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Stack is one of CloudFormation's. Templates are not carried out: it has the parts that Region.StackParts names.
type Stack struct {
	Name, ID, State, Why string
	Parameters, Tags     map[string]string
	Template             string
	Parts                []*StackPart

	looks int
	log   [][]X
}

// A StackPart is a resource of a stack.
type StackPart struct {
	Name, Type, ID, State string
	Fails                 string // why it cannot be made
	Stays                 string // why it cannot be deleted
	Mounted               bool   // a volume's attachment, that cannot be deleted while the stack's instance runs

	instance *Instance // that of EC2, if it is one
}

// stackLooks is how many looks it takes until a stack has become what it was asked to be.
const stackLooks = 2

func formationService() *service {
	on := func(r *Request) []string {
		id := r.Form.Get("StackName")
		if s := r.stackOf(id); s != nil {
			return []string{s.ID}
		}
		if id == "" {
			return []string{"*"}
		}
		return []string{r.stackARN(id)}
	}
	return &service{prefix: "cloudformation", proto: query, ops: map[string]operation{
		"CreateStack":            {do: createStack, on: on, writes: true},
		"DeleteStack":            {do: deleteStack, on: on, writes: true},
		"DescribeStacks":         {do: describeStacks, on: on},
		"DescribeStackEvents":    {do: stackEvents, on: on},
		"DescribeStackResources": {do: stackParts, on: on},
	}}
}

func (r *Request) stackARN(name string) string {
	return fmt.Sprintf("arn:%s:cloudformation:%s:%s:stack/%s/1", r.Account.partition(), r.Region.Name, r.Account.ID, name)
}

// stackOf finds a stack by its name, if it is not deleted, or by its id.
func (r *Request) stackOf(id string) *Stack {
	for _, s := range slices.Backward(r.Region.Stacks) {
		if s.ID == id || s.Name == id && s.State != "DELETE_COMPLETE" {
			return s
		}
	}
	return nil
}

func noStack(id string) error { return fail("ValidationError", "Stack with id %s does not exist", id) }

func pairs(r *Request, list, key, value string) map[string]string {
	out := map[string]string{}
	for i := 1; r.Form.Has(fmt.Sprintf("%s.member.%d.%s", list, i, key)); i++ {
		at := fmt.Sprintf("%s.member.%d.", list, i)
		out[r.Form.Get(at+key)] = r.Form.Get(at + value)
	}
	return out
}

func createStack(r *Request) (any, error) {
	name := r.Form.Get("StackName")
	if r.stackOf(name) != nil {
		return nil, fail("AlreadyExistsException", "Stack [%s] already exists", name)
	}
	if r.Form.Get("Capabilities.member.1") == "" {
		return nil, fail("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_IAM]")
	}
	s := &Stack{Name: name, ID: r.stackARN(name) + strconv.Itoa(len(r.Region.Stacks)), State: "CREATE_IN_PROGRESS", Template: r.Form.Get("TemplateBody"),
		Parameters: pairs(r, "Parameters", "ParameterKey", "ParameterValue"), Tags: pairs(r, "Tags", "Key", "Value")}
	for k, v := range s.Tags {
		if k == "" || v == "" {
			return nil, fail("ValidationError", "1 validation error detected: Value '%s' at 'tags.1.member.value' failed to satisfy constraint: Member must have length greater than or equal to 1", v)
		}
	}
	for _, p := range r.Region.StackParts {
		p.ID = r.Region.id(strings.ToLower(p.Name) + "-")
		if p.Type == "AWS::EC2::Instance" {
			p.instance = r.Region.AddInstance(Instance{Tags: maps.Clone(s.Tags)}, "")
			p.ID = p.instance.ID
		}
		s.Parts = append(s.Parts, &p)
	}
	r.Region.Stacks = append(r.Region.Stacks, s)
	return []X{el("StackId", s.ID)}, nil
}

func deleteStack(r *Request) (any, error) {
	if s := r.stackOf(r.Form.Get("StackName")); s != nil && s.State != "DELETE_COMPLETE" {
		s.State, s.looks = "DELETE_IN_PROGRESS", 0
	}
	return []X{}, nil
}

// pass lets a look's worth of time pass.
func (s *Stack) pass() {
	if s.looks++; s.looks < stackLooks {
		return
	}
	switch s.State {
	case "CREATE_IN_PROGRESS":
		s.State = "CREATE_COMPLETE"
		for _, p := range s.Parts {
			p.State = "CREATE_COMPLETE"
			if p.Fails != "" {
				p.State, s.State = "CREATE_FAILED", "ROLLBACK_COMPLETE"
			}
			s.told(p, p.Fails)
		}
		if s.State != "CREATE_COMPLETE" {
			for _, p := range s.Parts {
				p.deleted()
			}
			s.Why = "The following resource(s) failed to create"
		}
	case "DELETE_IN_PROGRESS":
		s.State = "DELETE_COMPLETE"
		runs := slices.ContainsFunc(s.Parts, func(p *StackPart) bool { return p.instance != nil && p.instance.State == "running" })
		for _, p := range s.Parts {
			why := p.Stays
			if p.Mounted && runs {
				why = "the volume is busy"
			}
			if why == "" {
				p.deleted()
			} else {
				p.State, s.State = "DELETE_FAILED", "DELETE_FAILED"
			}
			s.told(p, why)
		}
	}
}

func (p *StackPart) deleted() {
	p.State = "DELETE_COMPLETE"
	if p.instance != nil {
		p.instance.State = "terminated"
	}
}

func (s *Stack) told(p *StackPart, why string) {
	s.log = append([][]X{{el("EventId", fmt.Sprintf("%s-%d", p.Name, len(s.log))), el("StackId", s.ID), el("StackName", s.Name), el("LogicalResourceId", p.Name), el("ResourceStatus", p.State), el("ResourceStatusReason", why), el("Timestamp", stamp(Start))}}, s.log...)
}

func (s *Stack) xml() []X {
	var tags, values [][]X
	for _, k := range sorted(s.Tags) {
		tags = append(tags, []X{el("Key", k), el("Value", s.Tags[k])})
	}
	for _, k := range sorted(s.Parameters) {
		values = append(values, []X{el("ParameterKey", k), el("ParameterValue", s.Parameters[k])})
	}
	x := []X{el("StackName", s.Name), el("StackId", s.ID), el("StackStatus", s.State), el("StackStatusReason", s.Why), el("CreationTime", stamp(Start)), members("Tags", tags...), members("Parameters", values...)}
	if s.State == "CREATE_COMPLETE" {
		id := ""
		for _, p := range s.Parts {
			if p.instance != nil {
				id = p.ID
			}
		}
		x = append(x, members("Outputs", []X{el("OutputKey", "Instance"), el("OutputValue", id)}, []X{el("OutputKey", "Address"), el("OutputValue", "10.213.77.4")}))
	}
	return x
}

func describeStacks(r *Request) (any, error) {
	if id := r.Form.Get("StackName"); id != "" {
		s := r.stackOf(id)
		if s == nil {
			return nil, noStack(id)
		}
		s.pass()
		return []X{members("Stacks", s.xml())}, nil
	}
	var all [][]X
	for _, s := range r.Region.Stacks {
		if s.State != "DELETE_COMPLETE" {
			all = append(all, s.xml())
		}
	}
	from, _ := strconv.Atoi(r.Form.Get("NextToken"))
	to := len(all)
	if n := r.Cloud.PageSize; n > 0 {
		to = min(to, from+n)
	}
	out := []X{members("Stacks", all[from:to]...)}
	if to < len(all) {
		out = append(out, el("NextToken", to))
	}
	return out, nil
}

func stackEvents(r *Request) (any, error) {
	s := r.stackOf(r.Form.Get("StackName"))
	if s == nil {
		return nil, noStack(r.Form.Get("StackName"))
	}
	return []X{members("StackEvents", s.log...)}, nil
}

func stackParts(r *Request) (any, error) {
	s := r.stackOf(r.Form.Get("StackName"))
	if s == nil {
		return nil, noStack(r.Form.Get("StackName"))
	}
	var list [][]X
	for _, p := range s.Parts {
		list = append(list, []X{el("LogicalResourceId", p.Name), el("PhysicalResourceId", p.ID), el("ResourceType", p.Type), el("ResourceStatus", p.State), el("ResourceStatusReason", p.Stays), el("Timestamp", stamp(Start))})
	}
	return []X{members("StackResources", list...)}, nil
}

// prefixListOps are of EC2: the prefix list of S3.
var prefixListOps = map[string]operation{"DescribePrefixLists": {do: func(r *Request) (any, error) {
	return []X{list("prefixListSet", []X{el("prefixListId", "pl-0123abcd"), el("prefixListName", "com.amazonaws."+r.Region.Name+".s3")})}, nil
}}}
