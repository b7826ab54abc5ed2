package awsfake

import "strconv"

// A Database is an instance of RDS, or a cluster.
type Database struct {
	Engine  string   // "postgres", "aurora-mysql"
	Exports []string // the logs that go to CloudWatch Logs
	Cluster string   // of an instance: the cluster that it is in
}

// databaseService is RDS. Its instances and clusters are Posture.Databases and Posture.DatabaseClusters.
func databaseService() *service {
	list := func(what, one, kind string, of func(*Posture) map[string]Database) operation {
		return operation{do: func(r *Request) (any, error) {
			if n := r.Form.Get("MaxRecords"); n != "" {
				if size, err := strconv.Atoi(n); err != nil || size < 20 || size > 100 {
					return nil, fail("InvalidParameterValue", "Invalid value %s for MaxRecords. Must be between 20 and 100", n)
				}
			}
			var items [][]X
			all := of(&r.Region.Posture)
			for _, name := range sorted(all) {
				d := all[name]
				x := []X{el(one+"Identifier", name), el(one+"Arn", "arn:"+r.Account.partition()+":rds:"+r.Region.Name+":"+r.Account.ID+":"+kind+":"+name), el("Engine", d.Engine)}
				if d.Cluster != "" {
					x = append(x, el("DBClusterIdentifier", d.Cluster))
				}
				if len(d.Exports) > 0 {
					x = append(x, texts("EnabledCloudwatchLogsExports", "member", d.Exports))
				}
				items = append(items, x)
			}
			return queryPage(r, what, one, "Marker", "Marker", items), nil
		}}
	}
	return &service{prefix: "rds", proto: query, ops: map[string]operation{
		"DescribeDBInstances": list("DBInstances", "DBInstance", "db", func(p *Posture) map[string]Database { return p.Databases }),
		"DescribeDBClusters":  list("DBClusters", "DBCluster", "cluster", func(p *Posture) map[string]Database { return p.DatabaseClusters }),
	}}
}
