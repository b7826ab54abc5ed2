package awsfake

import "encoding/json"

// webService is WAF. Its ACLs are Posture.WebACLs, of the region or, in us-east-1 alone, of CloudFront, with whether they are logged.
func webService() *service {
	list := func(what string, one func(r *Request, name string, logged bool) map[string]any) operation {
		return operation{do: func(r *Request) (any, error) {
			var in struct{ Scope string }
			if err := json.Unmarshal(r.Body, &in); err != nil {
				return nil, fail("SerializationException", "%v", err)
			}
			acls, scope := r.Region.Posture.WebACLs, "regional"
			if in.Scope == "CLOUDFRONT" {
				if r.Region.Name != "us-east-1" {
					return nil, fail("WAFInvalidParameterException", "Error reason: The scope is not valid., field: SCOPE_VALUE, parameter: CLOUDFRONT")
				}
				acls, scope = r.Region.Posture.GlobalWebACLs, "global"
			}
			all := []map[string]any{}
			for _, name := range sorted(acls) {
				if x := one(r, "arn:"+r.Account.partition()+":wafv2:"+r.Region.Name+":"+r.Account.ID+":"+scope+"/webacl/"+name+"/1", acls[name]); x != nil {
					all = append(all, x)
				}
			}
			page, next, err := jsonPage(r, all, "Limit", "NextMarker")
			if err != nil {
				return nil, err
			}
			out := map[string]any{what: page}
			if next != "" {
				out["NextMarker"] = next
			}
			return out, nil
		}}
	}
	return &service{prefix: "wafv2", proto: targetJSON, ops: map[string]operation{
		"ListWebACLs": list("WebACLs", func(_ *Request, arn string, _ bool) map[string]any { return map[string]any{"Name": arn, "ARN": arn} }),
		"ListLoggingConfigurations": list("LoggingConfigurations", func(r *Request, arn string, logged bool) map[string]any {
			if !logged {
				return nil
			}
			return map[string]any{"ResourceArn": arn, "LogDestinationConfigs": []string{"arn:aws:s3:::aws-waf-logs-1"}}
		}),
	}}
}
