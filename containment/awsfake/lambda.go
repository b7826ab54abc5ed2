package awsfake

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Function is a Lambda function.
type Function struct {
	Name, ARN string
	// Versions are all, $LATEST first. Each has settings of its own.
	Versions []*FunctionVersion
	Aliases  map[string]string
	Policy   string
	// Reserved is the concurrency reserved for it; nil: none.
	Reserved *int
	// Provisioned is what is asked for, by qualifier.
	Provisioned map[string]int
	// URLs are the authentication of its URLs, by alias; "" is the function's own.
	URLs       map[string]string
	Sources    []*EventSource
	Executions []*Execution

	region *Region
}

// A FunctionVersion is a version of a function.
type FunctionVersion struct {
	Version, Role    string
	Managed, Durable bool
	Limits           *[2]int // of environments on managed instances: least and most
}

// An EventSource is an event source mapping.
type EventSource struct{ UUID, Function, Source, State string }

// An Execution is a durable execution.
type Execution struct{ Name, Status string }

// AddFunction makes a function with one version, whose role is an ARN.
func (r *Region) AddFunction(name, role string) *Function {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	f := &Function{Name: name, ARN: "arn:" + r.account.partition() + ":lambda:" + r.Name + ":" + r.account.ID + ":function:" + name,
		Versions: []*FunctionVersion{{Version: "$LATEST", Role: role}}, Aliases: map[string]string{}, Provisioned: map[string]int{}, URLs: map[string]string{}, region: r}
	if r.functions == nil {
		r.functions = map[string]*Function{}
	}
	r.functions[name] = f
	return f
}

// RemoveFunction deletes a function.
func (r *Region) RemoveFunction(name string) {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	delete(r.functions, name)
}

// accountConcurrency is what all functions share; unreserved of it must stay unreserved.
const accountConcurrency, unreserved = 1000, 100

// A lambdaOp is an operation with its route: method, path with {} for a part, and a query parameter that must be there.
type lambdaOp struct {
	name, method, path, query string
	writes                    bool
	do                        func(*Request, *Function) (any, error)
}

func (c *Cloud) lambdaService() *service {
	ops := map[string]operation{}
	for _, o := range lambdaOps {
		ops[o.name] = operation{writes: o.writes, on: onFunction, do: func(r *Request) (any, error) {
			var f *Function
			if name, ok := r.Path["function"]; ok {
				if f = r.Region.functions[name]; f == nil {
					return nil, noResource("Function not found: " + name)
				}
			}
			return o.do(r, f)
		}}
	}
	return &service{prefix: "lambda", proto: restJSON, ops: ops, route: func(r *Request) string {
		r.Path = map[string]string{}
		for _, o := range lambdaOps {
			if o.method == r.HTTP.Method && o.matches(r) {
				return o.name
			}
		}
		return r.HTTP.Method + " " + r.HTTP.URL.Path
	}}
}

// matches reports whether a request is for the operation, and takes the parts of its path.
func (o *lambdaOp) matches(r *Request) bool {
	want, got := strings.Split(o.path, "/"), strings.Split(r.HTTP.URL.EscapedPath(), "/")
	if len(want) != len(got) || o.query != "" && !r.HTTP.URL.Query().Has(o.query) {
		return false
	}
	path := map[string]string{}
	for i := range want {
		if name := strings.Trim(want[i], "{}"); name != want[i] {
			path[name], _ = url.PathUnescape(got[i])
		} else if want[i] != got[i] {
			return false
		}
	}
	r.Path = path
	return true
}

// onFunction names what a call is about, as Lambda's policies do.
func onFunction(r *Request) []string {
	base := "arn:" + r.Account.partition() + ":lambda:" + r.Region.Name + ":" + r.Account.ID
	if name, ok := r.Path["function"]; ok {
		if q := r.HTTP.URL.Query().Get("Qualifier"); q != "" && strings.HasSuffix(r.HTTP.URL.Path, "/provisioned-concurrency") {
			name += ":" + q
		}
		return []string{base + ":function:" + name}
	}
	if id, ok := r.Path["uuid"]; ok {
		return []string{base + ":event-source-mapping:" + id}
	}
	if arn, ok := r.Path["execution"]; ok {
		return []string{arn}
	}
	return []string{"*"}
}

const (
	functionPath    = "/2015-03-31/functions/{function}"
	mappingPath     = "/2015-03-31/event-source-mappings"
	reservedPath    = "/functions/{function}/concurrency"
	provisionedPath = "/2019-09-30/functions/{function}/provisioned-concurrency"
	urlPath         = "/2021-10-31/functions/{function}/url"
	scalingPath     = "/2025-11-30/functions/{function}/function-scaling-config"
	durablePath     = "/2025-12-01/durable-executions/{execution}"
)

var lambdaOps = []*lambdaOp{
	{name: "GetFunctionConfiguration", method: "GET", path: functionPath + "/configuration", do: func(r *Request, f *Function) (any, error) { return f.config(f.Versions[0]), nil }},
	{name: "GetPolicy", method: "GET", path: functionPath + "/policy", do: func(r *Request, f *Function) (any, error) {
		if f.Policy == "" {
			return nil, noResource("The resource you requested does not exist.")
		}
		return map[string]any{"Policy": f.Policy}, nil
	}},
	{name: "ListVersionsByFunction", method: "GET", path: functionPath + "/versions", do: func(r *Request, f *Function) (any, error) {
		return listed(r, "Versions", f.Versions, func(v *FunctionVersion) any { return f.config(v) }), nil
	}},
	{name: "ListAliases", method: "GET", path: functionPath + "/aliases", do: func(r *Request, f *Function) (any, error) {
		return listed(r, "Aliases", slices.Sorted(maps.Keys(f.Aliases)), func(a string) any {
			return map[string]any{"Name": a, "FunctionVersion": f.Aliases[a], "AliasArn": f.ARN + ":" + a}
		}), nil
	}},

	{name: "GetFunctionConcurrency", method: "GET", path: "/2019-09-30" + reservedPath, do: func(r *Request, f *Function) (any, error) {
		if f.Reserved == nil {
			return map[string]any{}, nil
		}
		return map[string]any{"ReservedConcurrentExecutions": *f.Reserved}, nil
	}},
	{name: "PutFunctionConcurrency", method: "PUT", path: "/2017-10-31" + reservedPath, writes: true, do: func(r *Request, f *Function) (any, error) {
		return f.reserve(r)
	}},
	{name: "DeleteFunctionConcurrency", method: "DELETE", path: "/2017-10-31" + reservedPath, writes: true, do: func(r *Request, f *Function) (any, error) {
		f.Reserved = nil
		return nil, nil
	}},

	{name: "ListProvisionedConcurrencyConfigs", method: "GET", path: provisionedPath, query: "List", do: func(r *Request, f *Function) (any, error) {
		return listed(r, "ProvisionedConcurrencyConfigs", slices.Sorted(maps.Keys(f.Provisioned)), func(q string) any {
			return map[string]any{"FunctionArn": f.ARN + ":" + q, "RequestedProvisionedConcurrentExecutions": f.Provisioned[q], "Status": "READY"}
		}), nil
	}},
	{name: "GetProvisionedConcurrencyConfig", method: "GET", path: provisionedPath, do: func(r *Request, f *Function) (any, error) {
		n, ok := f.Provisioned[qualifier(r)]
		if !ok {
			return nil, &Error{Code: "ProvisionedConcurrencyConfigNotFoundException", Message: "No Provisioned Concurrency Config found for this function", Status: http.StatusNotFound}
		}
		return map[string]any{"RequestedProvisionedConcurrentExecutions": n, "Status": "READY"}, nil
	}},
	{name: "PutProvisionedConcurrencyConfig", method: "PUT", path: provisionedPath, writes: true, do: func(r *Request, f *Function) (any, error) {
		n := int(r.number("ProvisionedConcurrentExecutions"))
		if f.Reserved != nil && n > *f.Reserved {
			return nil, &Error{Code: "InvalidParameterValueException", Message: "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"}
		}
		f.Provisioned[qualifier(r)] = n
		return map[string]any{"RequestedProvisionedConcurrentExecutions": n, "Status": "IN_PROGRESS"}, nil
	}},
	{name: "DeleteProvisionedConcurrencyConfig", method: "DELETE", path: provisionedPath, writes: true, do: func(r *Request, f *Function) (any, error) {
		if _, ok := f.Provisioned[qualifier(r)]; !ok {
			return nil, &Error{Code: "ProvisionedConcurrencyConfigNotFoundException", Message: "No Provisioned Concurrency Config found for this function", Status: http.StatusNotFound}
		}
		delete(f.Provisioned, qualifier(r))
		return nil, nil
	}},

	{name: "ListEventSourceMappings", method: "GET", path: mappingPath, do: func(r *Request, _ *Function) (any, error) {
		var all []*EventSource
		for _, name := range slices.Sorted(maps.Keys(r.Region.functions)) {
			all = append(all, r.Region.functions[name].Sources...)
		}
		return listed(r, "EventSourceMappings", all, func(s *EventSource) any { return s.config() }), nil
	}},
	{name: "GetEventSourceMapping", method: "GET", path: mappingPath + "/{uuid}", do: func(r *Request, _ *Function) (any, error) {
		s, err := source(r)
		if err != nil {
			return nil, err
		}
		return s.config(), nil
	}},
	{name: "UpdateEventSourceMapping", method: "PUT", path: mappingPath + "/{uuid}", writes: true, do: func(r *Request, _ *Function) (any, error) {
		s, err := source(r)
		if err != nil {
			return nil, err
		}
		s.State = "Disabling"
		if on, _ := r.body()["Enabled"].(bool); on {
			s.State = "Enabling"
		}
		return s.config(), nil
	}},

	{name: "ListFunctionUrlConfigs", method: "GET", path: urlPath + "s", do: func(r *Request, f *Function) (any, error) {
		return listed(r, "FunctionUrlConfigs", slices.Sorted(maps.Keys(f.URLs)), func(q string) any { return f.url(q) }), nil
	}},
	{name: "GetFunctionUrlConfig", method: "GET", path: urlPath, do: func(r *Request, f *Function) (any, error) {
		if _, ok := f.URLs[qualifier(r)]; !ok {
			return nil, noResource("The resource you requested does not exist.")
		}
		return f.url(qualifier(r)), nil
	}},
	{name: "UpdateFunctionUrlConfig", method: "PUT", path: urlPath, writes: true, do: func(r *Request, f *Function) (any, error) {
		if _, ok := f.URLs[qualifier(r)]; !ok {
			return nil, noResource("The resource you requested does not exist.")
		}
		f.URLs[qualifier(r)], _ = r.body()["AuthType"].(string)
		return f.url(qualifier(r)), nil
	}},

	{name: "GetFunctionScalingConfig", method: "GET", path: scalingPath, do: func(r *Request, f *Function) (any, error) {
		v, err := f.version(qualifier(r))
		if err != nil {
			return nil, err
		}
		out := map[string]any{"FunctionArn": f.ARN + ":" + v.Version}
		if v.Limits != nil {
			out["RequestedFunctionScalingConfig"] = map[string]any{"MinExecutionEnvironments": v.Limits[0], "MaxExecutionEnvironments": v.Limits[1]}
		}
		return out, nil
	}},
	{name: "PutFunctionScalingConfig", method: "PUT", path: scalingPath, writes: true, do: func(r *Request, f *Function) (any, error) {
		v, err := f.version(qualifier(r))
		if err != nil {
			return nil, err
		}
		v.Limits = nil
		if l, ok := r.body()["FunctionScalingConfig"].(map[string]any); ok {
			least, _ := l["MinExecutionEnvironments"].(float64)
			most, _ := l["MaxExecutionEnvironments"].(float64)
			v.Limits = &[2]int{int(least), int(most)}
		}
		return map[string]any{"FunctionState": "Active"}, nil
	}},

	{name: "ListDurableExecutionsByFunction", method: "GET", path: "/2025-12-01/functions/{function}/durable-executions", do: func(r *Request, f *Function) (any, error) {
		var live []*Execution
		for _, e := range f.Executions {
			if want := r.HTTP.URL.Query()["Statuses"]; len(want) == 0 || slices.Contains(want, e.Status) {
				live = append(live, e)
			}
		}
		return listed(r, "DurableExecutions", live, func(e *Execution) any { return f.execution(e) }), nil
	}},
	{name: "GetDurableExecution", method: "GET", path: durablePath, do: func(r *Request, _ *Function) (any, error) {
		f, e, err := durable(r)
		if err != nil {
			return nil, err
		}
		return f.execution(e), nil
	}},
	{name: "StopDurableExecution", method: "POST", path: durablePath + "/stop", writes: true, do: func(r *Request, _ *Function) (any, error) {
		_, e, err := durable(r)
		if err != nil {
			return nil, err
		}
		e.Status = "STOPPED"
		return map[string]any{"StopTimestamp": r.Cloud.now.Unix()}, nil
	}},
}

func (f *Function) config(v *FunctionVersion) map[string]any {
	arn := f.ARN
	if v.Version != "$LATEST" {
		arn += ":" + v.Version
	}
	c := map[string]any{"FunctionName": f.Name, "FunctionArn": arn, "Version": v.Version, "Role": v.Role, "Runtime": "provided.al2023", "Handler": "bootstrap",
		"CodeSha256": "sha-of-" + v.Version, "Timeout": 30, "Environment": map[string]any{"Variables": map[string]any{"DB_PASSWORD": "hunter2", "STAGE": "live"}}}
	if v.Managed {
		c["CapacityProviderConfig"] = map[string]any{"LambdaManagedInstancesCapacityProviderConfig": map[string]any{"CapacityProviderArn": f.ARN}}
	}
	if v.Durable {
		c["DurableConfig"] = map[string]any{"ExecutionTimeout": 3600}
	}
	return c
}

func (f *Function) reserve(r *Request) (any, error) {
	n := int(r.number("ReservedConcurrentExecutions"))
	if f.Versions[len(f.Versions)-1].Managed {
		return nil, &Error{Code: "InvalidParameterValueException", Message: "Reserved concurrency is not supported for functions on managed instances"}
	}
	sum := n
	for _, g := range f.region.functions {
		if g != f && g.Reserved != nil {
			sum += *g.Reserved
		}
	}
	if accountConcurrency-sum < unreserved && n > 0 {
		return nil, &Error{Code: "InvalidParameterValueException", Message: "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."}
	}
	for _, p := range f.Provisioned {
		if p > n {
			return nil, &Error{Code: "InvalidParameterValueException", Message: "Specified ReservedConcurrentExecutions should not be lower than function's total provisioned concurrency"}
		}
	}
	f.Reserved = &n
	return map[string]any{"ReservedConcurrentExecutions": n}, nil
}

func (f *Function) url(q string) map[string]any {
	arn := f.ARN
	if q != "" {
		arn += ":" + q
	}
	return map[string]any{"AuthType": f.URLs[q], "FunctionArn": arn, "FunctionUrl": "https://x.lambda-url.eu-west-1.on.aws/", "CreationTime": "2026-01-01T00:00:00Z", "LastModifiedTime": "2026-01-01T00:00:00Z"}
}

func (f *Function) version(q string) (*FunctionVersion, error) {
	for _, v := range f.Versions {
		if v.Version == q {
			return v, nil
		}
	}
	return nil, noResource("Function not found: " + f.ARN + ":" + q)
}

// config is the mapping as it is read; what it was told to become, it is from then on.
func (s *EventSource) config() map[string]any {
	c := map[string]any{"UUID": s.UUID, "FunctionArn": s.Function, "EventSourceArn": s.Source, "State": s.State}
	switch s.State {
	case "Enabling":
		s.State = "Enabled"
	case "Disabling":
		s.State = "Disabled"
	}
	return c
}

func (f *Function) execution(e *Execution) map[string]any {
	return map[string]any{"DurableExecutionArn": f.ARN + ":1/durable-execution/" + e.Name, "DurableExecutionName": e.Name, "FunctionArn": f.ARN, "Status": e.Status, "StartTimestamp": Start.Unix()}
}

func source(r *Request) (*EventSource, error) {
	for _, f := range r.Region.functions {
		for _, s := range f.Sources {
			if s.UUID == r.Path["uuid"] {
				return s, nil
			}
		}
	}
	return nil, noResource("The resource you requested does not exist.")
}

func durable(r *Request) (*Function, *Execution, error) {
	for _, f := range r.Region.functions {
		for _, e := range f.Executions {
			if f.execution(e)["DurableExecutionArn"] == r.Path["execution"] {
				return f, e, nil
			}
		}
	}
	return nil, nil, noResource("Durable execution not found")
}

func qualifier(r *Request) string { return r.HTTP.URL.Query().Get("Qualifier") }

func (r *Request) body() map[string]any {
	m := map[string]any{}
	json.Unmarshal(r.Body, &m) //nolint:errcheck // no body is an empty one
	return m
}

func (r *Request) number(name string) float64 {
	n, _ := r.body()[name].(float64)
	return n
}

// listed is a page of a list.
func listed[T any](r *Request, name string, all []T, f func(T) any) map[string]any {
	from, _ := strconv.Atoi(r.HTTP.URL.Query().Get("Marker"))
	from = min(from, len(all))
	to := len(all)
	if n := r.Cloud.PageSize; n > 0 {
		to = min(to, from+n)
	}
	items := []any{}
	for _, v := range all[from:to] {
		items = append(items, f(v))
	}
	out := map[string]any{name: items}
	if to < len(all) {
		out["NextMarker"] = strconv.Itoa(to)
	}
	return out
}

func noResource(message string) error {
	return &Error{Code: "ResourceNotFoundException", Message: message, Status: http.StatusNotFound}
}
