package awsfake

import (
	"net/http"
	"strconv"
	"strings"
)

// clusterService is EKS. Its clusters are Posture.Clusters, with the kinds of control plane logs that are on.
func clusterService() *service {
	return &service{prefix: "eks", proto: restJSON, ops: map[string]operation{
		"ListClusters": {do: func(r *Request) (any, error) {
			query, names := r.HTTP.URL.Query(), append([]string{}, sorted(r.Region.Posture.Clusters)...)
			from, _ := strconv.Atoi(query.Get("nextToken"))
			size, err := strconv.Atoi(query.Get("maxResults"))
			if err != nil {
				size = 100
			}
			if n := r.Cloud.PageSize; n > 0 {
				size = min(size, n)
			}
			out := map[string]any{"clusters": names[min(from, len(names)):min(from+size, len(names))]}
			if from+size < len(names) {
				out["nextToken"] = strconv.Itoa(from + size)
			}
			return out, nil
		}},
		"DescribeCluster": {on: func(r *Request) []string {
			return []string{"arn:" + r.Account.partition() + ":eks:" + r.Region.Name + ":" + r.Account.ID + ":cluster/" + r.Path["name"]}
		}, do: func(r *Request) (any, error) {
			on, ok := r.Region.Posture.Clusters[r.Path["name"]]
			if !ok {
				return nil, &Error{Code: "ResourceNotFoundException", Message: "No cluster found for name: " + r.Path["name"] + ".", Status: http.StatusNotFound}
			}
			// As the real one: a set of those that are on and one of those that are not, either of which may be left out.
			var off []string
			for _, kind := range []string{"api", "audit", "authenticator", "controllerManager", "scheduler"} {
				if !strings.Contains(","+strings.Join(on, ",")+",", ","+kind+",") {
					off = append(off, kind)
				}
			}
			sets := []map[string]any{}
			if len(on) > 0 {
				sets = append(sets, map[string]any{"types": on, "enabled": true})
			}
			if len(off) > 0 {
				sets = append(sets, map[string]any{"types": off, "enabled": false})
			}
			return map[string]any{"cluster": map[string]any{"name": r.Path["name"], "logging": map[string]any{"clusterLogging": sets}}}, nil
		}},
	}, route: func(r *Request) string {
		path := strings.Split(strings.Trim(r.HTTP.URL.Path, "/"), "/")
		switch {
		case r.HTTP.Method == "GET" && len(path) == 1 && path[0] == "clusters":
			return "ListClusters"
		case r.HTTP.Method == "GET" && len(path) == 2 && path[0] == "clusters":
			r.Path = map[string]string{"name": path[1]}
			return "DescribeCluster"
		}
		return r.HTTP.Method + " " + r.HTTP.URL.Path
	}}
}
