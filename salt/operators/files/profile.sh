# Managed by Salt (salt/operators). A login shell sets PATH again; operators find their own `salt` first.
case " $(id -Gn) " in
*" salina-operators "*) PATH=/usr/local/lib/salina-operators/bin:$PATH ;;
esac
