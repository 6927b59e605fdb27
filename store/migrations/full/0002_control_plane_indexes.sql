-- The indexes that runatlas adds to the control plane, each with its reader.

-- Viewer.organizations: the platform's unique index begins with the organization.
CREATE INDEX IF NOT EXISTS runatlas_org_member_user ON "OrgMember" ("userId");

-- Organization.projects.
CREATE INDEX IF NOT EXISTS runatlas_project_organization ON "Project" ("organizationId");
