create schema "ERP export";
create table "ERP export"."größe-und_farbe (neu)" as select now()::timestamp as "Changed At";
create table "ERP export"."2fast" as select now()::timestamp as "Changed At";
