package ready

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	"github.com/aws/aws-sdk-go-v2/service/rds/types"
)

// whoConnects is the log of a database that says who connected, or tried to, by a part of the names of its engines. Of other engines any log will do.
var whoConnects = []struct{ engine, log string }{
	{"postgres", "postgresql"}, {"mysql", "audit"}, {"mariadb", "audit"}, {"oracle", "audit"}, {"sqlserver", "error"}, {"docdb", "audit"}, {"neptune", "audit"},
}

var databaseLogs = Check{
	ID: "database-logs", Title: "databases of RDS send the log of who connects to CloudWatch Logs",
	Why:      "What was read out of a database is in its own log, which CloudTrail does not have. On the instance it is kept for days, less if it grows, and goes with the instance.",
	Severity: Medium, Prowler: "rds_instance_integration_cloudwatch_logs",
	Fix: "aws rds modify-db-instance --db-instance-identifier {resource} --cloudwatch-logs-export-configuration EnableLogTypes=LOG --region {region}; " +
		"of a cluster modify-db-cluster --db-cluster-identifier. That the engine writes it is set in its parameters: log_connections, server_audit_events and their like",
	Actions: []string{"rds:DescribeDBClusters", "rds:DescribeDBInstances"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		api := rds.NewFromConfig(s.Config)
		clusters, err := pages(ctx, rds.NewDescribeDBClustersPaginator(api, &rds.DescribeDBClustersInput{MaxRecords: aws.Int32(100)}), func(o *rds.DescribeDBClustersOutput) []types.DBCluster { return o.DBClusters })
		instances, ierr := pages(ctx, rds.NewDescribeDBInstancesPaginator(api, &rds.DescribeDBInstancesInput{MaxRecords: aws.Int32(100)}), func(o *rds.DescribeDBInstancesOutput) []types.DBInstance { return o.DBInstances })
		var list []Finding
		for _, c := range clusters {
			list = append(list, exported(aws.ToString(c.DBClusterIdentifier), "cluster, ", aws.ToString(c.Engine), c.EnabledCloudwatchLogsExports))
		}
		for _, i := range instances {
			if aws.ToString(i.DBClusterIdentifier) == "" { // else it is the cluster's to say
				list = append(list, exported(aws.ToString(i.DBInstanceIdentifier), "", aws.ToString(i.Engine), i.EnabledCloudwatchLogsExports))
			}
		}
		return list, errors.Join(err, ierr)
	},
}

// exported judges the logs of a database that go to CloudWatch Logs.
func exported(name, kind, engine string, logs []string) Finding {
	if len(logs) == 0 {
		return fail(name, "%s%s: none is exported", kind, engine)
	}
	for _, w := range whoConnects {
		if strings.Contains(engine, w.engine) && !slices.Contains(logs, w.log) {
			return fail(name, "%s%s: off: %s", kind, engine, w.log)
		}
	}
	return pass(name, "%s%s: %s; whether the engine writes there who connects is in its parameters, which are not looked at", kind, engine, strings.Join(logs, ", "))
}
